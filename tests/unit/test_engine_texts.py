"""What other programs and servers say, as recorded, and what we make of it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MeasurementError as Failed
from agent.measure.captive_portal import check_payload
from agent.measure.engines.child_process import BUSY_S, to_measurement_error, uses_https
from agent.measure.engines.http_stream import parse_head
from agent.measure.engines.ookla import parse_server
from agent.measure.engines.speedtest_cli import parse_report
from tests.unit.test_latency import NOON, UUID_
from xomnet.contract.messages import Speed, SpeedResult, decode_result, encode

# speedtest-cli 2.1.3 on Python 3.11, word for word; the MemoryError as users of small machines report it.
FORBIDDEN = "Cannot retrieve speedtest configuration\nERROR: HTTP Error 403: Forbidden\n"
TOO_MANY = "Cannot retrieve speedtest configuration\nERROR: HTTP Error 429: Too Many Requests\n"
REFUSED = "Cannot retrieve speedtest configuration\nERROR: <urlopen error [Errno 111] Connection refused>\n"
NO_NAME = "Cannot retrieve speedtest configuration\nERROR: <urlopen error [Errno -2] Name or service not known>\n"
NO_SERVERS = "Cannot retrieve speedtest server list\nERROR: <urlopen error timed out>\n"
NOT_BEST = "ERROR: Unable to connect to servers to test latency.\n"
GARBAGE = "ERROR: Malformed speedtest.net configuration: no element found: line 1, column 403\n"
FINDER_CUT_OFF = "ConfigRetrievalError: Remote end closed connection without response\n"
FINDER = "ConfigRetrievalError: HTTP Error 403: Forbidden\n"
PINNED_NO_NAME = """\
https://www.speedtest.net/speedtest-config.php?x=1: <urlopen error [Errno -2] dns_failure: www.speedtest.net: \
203.0.113.1, asked over wwan0, knows no address of it>
Cannot retrieve speedtest configuration
ERROR: <urlopen error [Errno -2] dns_failure: www.speedtest.net: 203.0.113.1, asked over wwan0, knows no address of it>
"""
TOLD = "https://www.speedtest.net/speedtest-config.php?x=1: HTTP Error 429: Too Many Requests Retry-After: 900\n"
LIST = "http://c.speedtest.net/speedtest-servers.php?threads=8&x=1: "
LISTS_REFUSED = f"{LIST}HTTP Error 403: Forbidden\n" * 4
LISTS_BUSY = f"{LIST}HTTP Error 403: Forbidden\n{LIST}HTTP Error 429: Too Many Requests Retry-After: 120\n"
LISTS_AWAY = f"{LIST}<urlopen error [Errno 113] No route to host>\n" * 4
ANOTHER_LIST = f"{LIST}HTTP Error 404: Not Found\n"
MINI_REFUSED = """\
http://mini.example.vn?x=1: HTTP Error 403: Forbidden
ERROR: Failed to connect to http://mini.example.vn
"""
ALL_DEAD = "no server answers, the nearest is http://hn.example.vn:8080/speedtest/upload.php\n"
NO_KEY = """\
Traceback (most recent call last):
  File "/usr/lib/python3/dist-packages/speedtest.py", line 1174, in get_config
    int(i) for i in server_config['ignoreids'].split(',') if i
KeyError: 'ignoreids'
"""
MEMORY = """\
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "<frozen runpy>", line 88, in _run_code
  File "/usr/lib/python3/dist-packages/speedtest.py", line 1935, in main
    shell()
  File "/usr/lib/python3/dist-packages/speedtest.py", line 1881, in shell
    speedtest.upload(
  File "/usr/lib/python3/dist-packages/speedtest.py", line 695, in pre_allocate
    self._data = IO(
MemoryError
"""
REPORT = b"""\
{"download": 114602837.3, "upload": 0, "ping": 101.9, "server": {"url": "http://hn.example.vn:8080/speedtest/upload.php",\
 "lat": "21.03", "lon": "105.85", "name": "Hanoi", "country": "Vietnam", "cc": "VN", "sponsor": "Example",\
 "id": "9903", "host": "hn.example.vn:8080", "d": 81.3, "latency": 101.9}, "timestamp": "2026-11-20T12:00:00.000000Z",\
 "bytes_sent": 0, "bytes_received": 143654108, "share": null, "client": {"ip": "203.0.113.7", "isp": "Example"}}
"""


@pytest.mark.parametrize(
    ("complaint", "error", "flags", "retry_after_s"),
    [
        (FORBIDDEN, "http_403", (), None),
        (FINDER, "http_403", (), None),
        (FINDER_CUT_OFF, "unreachable", (), None),
        (TOO_MANY, "server_busy", ("server_busy",), BUSY_S),
        (REFUSED, "unreachable", (), None),
        (NO_NAME, "dns_failure", (), None),
        (PINNED_NO_NAME, "dns_failure", (), None),
        (NO_SERVERS, "unreachable", (), None),
        (NOT_BEST, "engine", (), None),
        (LISTS_REFUSED + NOT_BEST, "http_403", (), None),
        (LISTS_BUSY + NOT_BEST, "server_busy", ("server_busy",), 120),
        (LISTS_AWAY + NOT_BEST, "unreachable", (), None),
        (ANOTHER_LIST + GARBAGE, "engine", (), None),
        (NO_KEY, "engine", (), None),
        (MINI_REFUSED, "http_403", (), None),
        (ALL_DEAD, "unreachable", (), None),
        (TOLD + TOO_MANY, "server_busy", ("server_busy",), 900),
        (TOLD.replace("900", "86400") + TOO_MANY, "server_busy", ("server_busy",), BUSY_S),
        (GARBAGE, "engine", (), None),
        (MEMORY, "memory", ("unit_fault",), None),
        ("", "engine", (), None),
    ],
)
def test_a_complaint_of_speedtest_cli_has_a_code(
    complaint: str, error: str, flags: tuple[str, ...], retry_after_s: float | None
) -> None:
    failed = to_measurement_error(complaint)
    assert (failed.error, failed.flags, failed.retry_after_s) == (error, flags, retry_after_s)
    for word in ("Forbidden", "Too Many", "example", "speedtest.net", "ignoreids", "column", "Remote end", "203.0.113"):
        assert word not in failed.detail


@given(st.text(min_size=5), st.sampled_from(["", "ERROR: ", "HTTP Error 404: ", "<urlopen error [Errno 111] ", "x: "]))
def test_no_byte_of_what_a_server_sent_gets_into_a_detail(banner: str, before: str) -> None:
    banner = f"<{banner}>SSH-2.0-OpenSSH_9.2"
    details = {to_measurement_error(before + text).detail for text in (banner, f"{banner}\n{banner}")}
    assert not any("SSH" in detail or "<" in detail for detail in details)


@pytest.mark.parametrize(
    "url",
    ["http://a b/x", "http://a\r\nX: y/", "ftp://a/x", "http://\u202e/", "http://a/" + "x" * 600, "/x/y", "http://"],
)
def test_the_address_of_a_server_that_was_found_is_one_or_nothing(url: str) -> None:
    with pytest.raises(Failed) as caught:
        parse_server(msgspec.json.encode({"url": url}))
    assert (caught.value.error, url in caught.value.detail) == ("engine_output", False)


def test_a_report_of_speedtest_cli_is_read() -> None:
    report = parse_report(REPORT)
    assert (report.download, report.ping, report.bytes_received) == (114602837.3, 101.9, 143_654_108)
    assert report.server.url == "http://hn.example.vn:8080/speedtest/upload.php"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"download": -1, "ping": 1, "bytes_received": 0, "server": {}}',
        b'{"ping": 1, "bytes_received": 1, "server": {}}',
        b'{"download": "fast", "ping": 1, "bytes_received": 1, "server": {}}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_report_is_a_failed_test(text: bytes) -> None:
    with pytest.raises(Failed) as caught:
        parse_report(text)
    assert caught.value.error == "engine_output"


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        (b'{"url": "http://hn.example.vn:8080/speedtest/upload.php"}\n', "http://hn.example.vn:8080/speedtest"),
        (b'{"url": "https://hn.example.vn:8080/speedtest/upload.php"}', "http://hn.example.vn:8080/speedtest"),
        (b'{"url": "http://hn.example.vn/upload.php"}', "http://hn.example.vn"),
    ],
)
def test_the_finders_answer_is_the_servers_folder(text: bytes, folder: str) -> None:
    assert parse_server(text) == folder


@pytest.mark.parametrize("text", [b"", b"{}", b'{"url": 5}', b"best: hn", b"\xff"])
def test_what_is_no_answer_of_the_finder_is_a_failed_test(text: bytes) -> None:
    with pytest.raises(Failed) as caught:
        parse_server(text)
    assert caught.value.error == "engine_output"


def test_speedtest_net_is_asked_over_https_unless_a_proxy_for_plain_http_stands_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert uses_https()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert not uses_https()
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert uses_https()


def head(*headers: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([first, *headers, "", ""]).encode("latin-1")


DATA = "Content-Type: application/octet-stream"


@pytest.mark.parametrize(
    ("answer", "length", "keep_alive"),
    [
        (head(DATA, "Content-Length: 7"), 7, True),
        (head(DATA, "Content-Length: 7", "Connection: close"), 7, False),
        (head(DATA, "Content-Length: 7", "Connection: Close"), 7, False),
        (head(DATA, "content-length: 1073741824 "), 1 << 30, True),
        (head(DATA), None, False),
        (head(DATA, "Transfer-Encoding: chunked"), None, False),
        (head(DATA, "Content-Length: 7", first="HTTP/1.0 200 OK"), 7, False),
        (head(DATA, "Content-Length: 7", "Connection: keep-alive", first="HTTP/1.0 200 OK"), 7, True),
        (head("Content-Length: 7"), 7, True),
        (head("Content-Length: 7", first="HTTP/1.1 200"), 7, True),
        (head(DATA, "Content-Length: \xb2"), None, False),  # isdigit() says yes to a superscript two
        (head(DATA, "Content-Length: " + "9" * 5000), None, False),
        (head(DATA, "Content-Length: -5"), None, False),
    ],
)
def test_the_head_of_a_good_answer(answer: bytes, length: int | None, keep_alive: bool) -> None:
    assert parse_head(answer) == (length, keep_alive)


@pytest.mark.parametrize(
    ("answer", "error", "flags", "retry_after_s"),
    [
        (head(first="HTTP/1.1 404 Not Found"), "http_404", (), None),
        (head(first="HTTP/1.1 500 Internal Server Error"), "http_500", (), None),
        (head(first="HTTP/1.1 204 No Content"), "http_204", (), None),
        (head("Retry-After: 7", first="HTTP/1.1 503 Busy"), "server_busy", ("server_busy",), 7),
        (head("Retry-After: 99999999", first="HTTP/1.1 429 Slow"), "server_busy", ("server_busy",), 3600),
        (head("Retry-After: \xb2", first="HTTP/1.1 503 Busy"), "server_busy", ("server_busy",), None),
        (head("Retry-After: soon", first="HTTP/1.1 503 Busy"), "server_busy", ("server_busy",), None),
        (head("Location: http://login.example/", first="HTTP/1.1 302 Found"), "portal", ("portal",), None),
        (head(first="HTTP/1.1 302 Found"), "portal", ("portal",), None),
        (head("Content-Type: text/html"), "portal", ("portal",), None),
        (head("Content-Type: text/plain", "Content-Length: 7"), "portal", ("portal",), None),
        (head(DATA, "Content-Length: 0"), "payload_mismatch", ("payload_mismatch",), None),
        (head(first="SSH-2.0-OpenSSH_9.2"), "portal", ("portal",), None),
        (head(first="HTTP/2 200"), "portal", ("portal",), None),
        (head(first="HTTP/1.1 " + "2" * 5000), "portal", ("portal",), None),
        (head(first=""), "portal", ("portal",), None),
        (head(DATA, *(f"X-{n}: y" for n in range(300))), "portal", ("portal",), None),  # more than http.client reads
    ],
)
def test_the_head_of_a_bad_answer_says_what_is_wrong(
    answer: bytes, error: str, flags: tuple[str, ...], retry_after_s: float | None
) -> None:
    with pytest.raises(Failed) as caught:
        parse_head(answer)
    failed = caught.value
    assert (failed.error, failed.flags, failed.retry_after_s) == (error, flags, retry_after_s)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest + b"\r\n\r\n"))
def test_no_bytes_in_a_head_are_more_than_a_failed_test(answer: bytes) -> None:
    try:
        length, _ = parse_head(answer)
    except Failed as failed:
        data = Speed(engine="http", server="s", error=failed.error)
        result = SpeedResult(
            v=1, agent="a", spool=UUID_, seq=1, boot=UUID_, at=NOON, clock="synced", line="l", data=data
        )
        assert decode_result(encode(result)) == result
    else:
        assert length is None or length > 0


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (b"<!DOCTYPE html><html>" + b"x" * 9, "portal"),
        (b"\r\n  <HTML>", "portal"),
        (b"<?xml version='1.0'?>", "portal"),
        (bytes(65_536), "payload_mismatch"),
        (b"0123456789" * 6000, "payload_mismatch"),
    ],
)
def test_a_page_and_what_could_be_compressed_are_no_test_data(block: bytes, error: str) -> None:
    with pytest.raises(Failed) as caught:
        check_payload(block)
    assert (caught.value.error, caught.value.flags) == (error, (error,))


def test_random_bytes_are_test_data() -> None:
    import random

    check_payload(random.Random(1).randbytes(65_536))
    check_payload(b"")


def test_a_content_type_over_which_the_library_stumbles_is_not_http() -> None:
    """Its parser of mail compares None with a number there (found by the fuzzer)."""
    with pytest.raises(Failed) as failed:
        parse_head(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/s; a*=''x; a*4*=''x\r\n\r\n")
    assert failed.value.error == "portal"
