"""What services are asked to send, by apprise's own plugins: nothing of a hamlet's name is taken for markup, nothing is
too long, and no reason holds a part of an address.
"""

from typing import Any

import pytest
from apprise import Apprise, NotifyBase

from collector.alerts.apprise_process import notify_arguments, without_secrets
from collector.alerts.outbox import Notification
from collector.alerts.texts import notification

TELEGRAM = "tgram://123456789:abcdefg_hijklmnop/12315544"
DISCORD = "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js/"
MAIL = "mailto://user:pa55word@127.0.0.1:2525/?from=x@example.vn&to=y@example.vn&format=html"
NAME = 'Xóm <b> & <a href="https://example.org">'


def asked(url: str, message: Notification) -> list[tuple[str, str]]:
    """(title, body) of each part that leaves for the service."""
    service = Apprise.instantiate(url)
    assert isinstance(service, NotifyBase)
    sent: list[tuple[str, str]] = []

    def send(body: str, title: str = "", **_: Any) -> bool:
        sent.append((title, body))
        return True

    service.send = send  # type: ignore[method-assign,assignment]
    assert service.notify(**notify_arguments(service, message))
    return sent


def test_a_service_without_titles_gets_the_name_once_and_escaped() -> None:
    ((title, body),) = asked(TELEGRAM, notification(NAME, ["one", "two"], None, "failure"))
    assert title == ""
    assert body.count("Xóm") == 1
    assert "Xóm &lt;b&gt; &amp; &lt;a" in body
    assert body.count("<b>") == body.count("</b>") == 1


def test_a_mail_is_html_with_its_title_as_it_is() -> None:
    ((title, body),) = asked(MAIL, notification(NAME, ["one"], None, "failure"))
    assert title == NAME
    assert "<p><b>Xóm &lt;b&gt; &amp; &lt;a" in body


@pytest.mark.parametrize(("url", "most"), [(TELEGRAM, 4096), (DISCORD, 2000)])
def test_what_is_too_long_for_a_service_goes_in_parts(url: str, most: int) -> None:
    lines = [f"▼ Xóm {n}, Giao Thiện (Giao Thủy, Nam Định) · 4G Viettel & co: 42 / 70 Mb/s" for n in range(100)]
    parts = asked(url, notification("xomnet", lines, "https://xomnet.example.vn/", "info"))
    assert len(parts) > 1
    assert all(len(title) + len(body) <= most for title, body in parts)
    assert all(any(f"Xóm {n}," in body for _, body in parts) for n in range(100))


@pytest.mark.parametrize(
    ("reason", "url", "shown", "said"),
    [
        (
            "no /bot123456789:abcdefg_hijklmnop/sendMessage",
            TELEGRAM,
            "tgram://1...p/1",
            "no /bot123456789:…/sendMessage",
        ),
        ("Bad chat 12315544", TELEGRAM, "tgram://1...p/12315544/", "Bad chat …"),
        (
            "127.0.0.1 refused pa55word of y@example.vn",
            MAIL,
            "mailto://user:****@127.0.0.1:2525/",
            "127.0.0.1 refused … of y@…",
        ),
        ("p@ss wrong", "mailto://u:p%40ss@mail.example.vn", "mailto://u:****@mail.example.vn", "… wrong"),
        (
            "noc.example.vn: s3cr3t not found",
            "json://noc.example.vn/s3cr3t",
            "json://noc.example.vn/s3cr3t",
            "noc.example.vn: … not found",
        ),
    ],
)
def test_no_reason_holds_a_part_of_an_address(reason: str, url: str, shown: str, said: str) -> None:
    assert without_secrets(reason, url, shown) == said
