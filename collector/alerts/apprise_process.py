"""`python -m collector.alerts.apprise_process`: sends messages through apprise; what `send` starts."""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from apprise import Apprise, AppriseAsset, NotifyBase, NotifyFormat, NotifyType, OverflowMode

from collector.alerts.delivery import Delivery, DeliveryOutcome
from collector.alerts.outbox import Notification

AT_ONCE = 8
SHORTEST = 4
"""Letters of a secret; what is shorter is in too many words."""


class _Reasons(logging.Handler):
    """Keeps what apprise says of a failure, by the thread that sends: it returns only true or false."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.said[record.thread or 0] = record.getMessage()


class _AppriseSender:
    """Sends parcels, and says what became of each."""

    def __init__(self, say: Callable[[DeliveryOutcome], object]) -> None:
        self._say, self._reasons, self._lock = say, _Reasons(), threading.Lock()
        logging.getLogger("apprise").addHandler(self._reasons)

    def send_in_order(self, parcels: Iterable[tuple[int, Delivery]]) -> None:
        """Parcels of one address: an end must not overtake its beginning."""
        for number, parcel in parcels:
            reason = self._reason(parcel)
            with self._lock:
                self._say(DeliveryOutcome(number, reason))

    def _reason(self, parcel: Delivery) -> str | None:
        """Why it was not sent; None where it was."""
        self._reasons.said.pop(threading.get_ident(), None)
        shown = ""
        try:
            service = Apprise.instantiate(parcel.url, asset=AppriseAsset(app_id="xomnet", app_desc="xomnet"))
            if service is None:
                return "apprise does not know such an address"
            shown = service.url(privacy=True)  # type: ignore[no-untyped-call]
            if service.notify(**letter_for(service, parcel.message)):
                return None
            reason = self._reasons.said.get(threading.get_ident(), "the service refused")
        except Exception as error:  # noqa: BLE001  # of a hundred services, whatever one of them raises
            reason = f"{type(error).__name__}: {error}"
        return without_secrets(reason, parcel.url, shown)[:300]


def letter_for(service: NotifyBase, message: Notification) -> dict[str, Any]:
    """What `service` is asked to send: HTML where it takes that and it is short enough, else text, in parts where that
    is too long. A service that has no titles would put them before the body without escaping them.
    """
    html = service.resolve_format(NotifyFormat.TEXT) == NotifyFormat.HTML and len(message.html) <= service.body_maxlen
    title, body = message.title, message.html if html else message.text
    if service.title_maxlen <= 0:
        title, body = "", body if html else f"{message.title}\n{body}"
    if service.overflow_mode == OverflowMode.UPSTREAM:
        service.overflow_mode = OverflowMode.SPLIT
    body_format = NotifyFormat.HTML if html else NotifyFormat.TEXT
    return {"body": body, "title": title, "notify_type": NotifyType(message.tone), "body_format": body_format}


def without_secrets(reason: str, url: str, shown: str) -> str:
    """`reason` without any part of the address but the host, where `shown`, the address as it may be shown, has it."""
    _, _, address = url.partition("://")
    parts = {part for raw in re.split(r"[/:@?&=#,]", address) for part in (raw, unquote(raw)) if len(part) >= SHORTEST}
    for part in sorted(parts - {urlsplit(shown).hostname}, key=lambda one: (-len(one), one)):
        reason = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "…", reason)
    return reason


def main() -> int:
    """Parcels on standard input, an outcome a line on standard output."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a plugin's own words are no outcome
    post = _AppriseSender(lambda outcome: out.write(msgspec.json.encode(outcome) + b"\n"))
    by_url: dict[str, list[tuple[int, Delivery]]] = {}
    for number, parcel in enumerate(msgspec.json.decode(sys.stdin.buffer.read(), type=list[Delivery])):
        by_url.setdefault(parcel.url, []).append((number, parcel))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(post.send_in_order, by_url.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
