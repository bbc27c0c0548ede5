"""`python -m collector.alerts.apprise_process`: sends messages through apprise; `delivery` starts it."""

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
"""Characters of a secret; what is shorter is in too many words."""


class _Reasons(logging.Handler):
    """Keeps what apprise says of a failure, by the thread that sends: it returns only true or false."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.by_thread: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.by_thread[record.thread or 0] = record.getMessage()


class _AppriseSender:
    """Sends messages, and reports what became of each."""

    def __init__(self, report: Callable[[DeliveryOutcome], object]) -> None:
        self._report, self._reasons, self._lock = report, _Reasons(), threading.Lock()
        logging.getLogger("apprise").addHandler(self._reasons)

    def send_in_order(self, deliveries: Iterable[tuple[int, Delivery]]) -> None:
        """Those to one address: an end must not overtake its beginning."""
        for number, delivery in deliveries:
            reason = self._send(delivery)
            with self._lock:
                self._report(DeliveryOutcome(number, reason))

    def _send(self, delivery: Delivery) -> str | None:
        """Why it was not sent; None if it was."""
        self._reasons.by_thread.pop(threading.get_ident(), None)
        public_url = ""
        try:
            service = Apprise.instantiate(delivery.url, asset=AppriseAsset(app_id="xomnet", app_desc="xomnet"))
            if service is None:
                return "apprise does not know such an address"
            public_url = service.url(privacy=True)  # type: ignore[no-untyped-call]
            if service.notify(**notify_arguments(service, delivery.message)):
                return None
            reason = self._reasons.by_thread.get(threading.get_ident(), "the service refused")
        except Exception as error:  # noqa: BLE001  # of a hundred services, whatever one of them raises
            reason = f"{type(error).__name__}: {error}"
        return without_secrets(reason, delivery.url, public_url)[:300]


def notify_arguments(service: NotifyBase, message: Notification) -> dict[str, Any]:
    """What `service` is asked to send: HTML if it takes that and it is short enough, else text, in parts if that is
    too long. A service that has no titles would put them before the body without escaping them.
    """
    html = service.resolve_format(NotifyFormat.TEXT) == NotifyFormat.HTML and len(message.html) <= service.body_maxlen
    title, body = message.title, message.html if html else message.text
    if service.title_maxlen <= 0:
        title, body = "", body if html else f"{message.title}\n{body}"
    if service.overflow_mode == OverflowMode.UPSTREAM:
        service.overflow_mode = OverflowMode.SPLIT
    body_format = NotifyFormat.HTML if html else NotifyFormat.TEXT
    return {"body": body, "title": title, "notify_type": NotifyType(message.tone), "body_format": body_format}


def without_secrets(reason: str, url: str, public_url: str) -> str:
    """`reason` without any part of the address, except the host if `public_url` (the address to show) has it."""
    _, _, address = url.partition("://")
    parts = {part for raw in re.split(r"[/:@?&=#,]", address) for part in (raw, unquote(raw)) if len(part) >= SHORTEST}
    for part in sorted(parts - {urlsplit(public_url).hostname}, key=lambda one: (-len(one), one)):
        reason = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "…", reason)
    return reason


def main() -> int:
    """Deliveries on standard input, an outcome a line on standard output."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a plugin's own words are no outcome
    sender = _AppriseSender(lambda outcome: out.write(msgspec.json.encode(outcome) + b"\n"))
    by_url: dict[str, list[tuple[int, Delivery]]] = {}
    for number, delivery in enumerate(msgspec.json.decode(sys.stdin.buffer.read(), type=list[Delivery])):
        by_url.setdefault(delivery.url, []).append((number, delivery))
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(sender.send_in_order, by_url.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
