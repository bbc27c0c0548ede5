"""Sends messages through apprise, in a process that ends when they are sent.

apprise with its plugins takes as much memory as the whole collector, and some of its services wait long; so it is
never loaded into the collector. The addresses, which are secrets, go through a pipe.
"""

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from collector.alerts.outbox import Message

AT_ONCE = 8
LIMIT_S = 180.0


class Parcel(msgspec.Struct, frozen=True):
    """A message and its address."""

    url: str
    message: Message


class Outcome(msgspec.Struct, frozen=True):
    """What became of a parcel: `reason` is None where it was sent."""

    number: int
    reason: str | None = None


def deliver(parcels: Sequence[Parcel], limit_s: float = LIMIT_S) -> Iterator[Outcome]:
    """Gives what became of each parcel as soon as it is known; within `limit_s`, or the rest has failed."""
    command = [sys.executable, "-m", "collector.alerts.send"]
    open_ = set(range(len(parcels)))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        alarm = threading.Timer(limit_s, child.kill)
        alarm.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(msgspec.json.encode(list(parcels)))
                child.stdin.close()
            for line in child.stdout:
                outcome = msgspec.json.decode(line, type=Outcome)
                open_.discard(outcome.number)
                yield outcome
        finally:
            alarm.cancel()
            if child.poll() is None:
                child.kill()
    for number in sorted(open_):
        yield Outcome(number, f"not sent within {limit_s:g} s, or the sending process was stopped")


class _Reasons(logging.Handler):
    """Keeps what apprise says of a failure, by the thread that sends: it returns only true or false."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.said[record.thread or 0] = record.getMessage()


def main() -> int:
    """Parcels on standard input, an outcome a line on standard output."""
    import apprise  # noqa: PLC0415  # heavy

    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a plugin's own words are no outcome
    reasons, lock = _Reasons(), threading.Lock()
    logging.getLogger("apprise").addHandler(reasons)
    parcels = msgspec.json.decode(sys.stdin.buffer.read(), type=list[Parcel])
    tones = {
        "failure": apprise.NotifyType.FAILURE,
        "success": apprise.NotifyType.SUCCESS,
        "info": apprise.NotifyType.INFO,
    }

    def send(number: int) -> None:
        parcel, me = parcels[number], threading.get_ident()
        reasons.said.pop(me, None)
        try:
            service = apprise.Apprise.instantiate(parcel.url)
            if service is None:
                reason: str | None = "apprise does not know such an address"
            else:
                html = service.resolve_format(apprise.NotifyFormat.TEXT) == apprise.NotifyFormat.HTML
                sent = service.notify(
                    body=parcel.message.html if html else parcel.message.text,
                    title=parcel.message.title,
                    notify_type=tones[parcel.message.tone],
                    body_format=apprise.NotifyFormat.HTML if html else apprise.NotifyFormat.TEXT,
                )
                reason = None if sent else reasons.said.get(me, "the service refused")
        except Exception as error:  # noqa: BLE001  # of a hundred services, whatever one of them raises
            reason = f"{type(error).__name__}: {error}"
        if reason is not None:
            reason = reason.replace(parcel.url, "…")[:300]
        with lock:
            out.write(msgspec.json.encode(Outcome(number, reason)).decode() + "\n")
            out.flush()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(send, range(len(parcels))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
