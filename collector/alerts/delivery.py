"""Has messages sent by a process of their own, `apprise_process`, which ends when they are sent.

apprise with its plugins takes as much memory as the whole collector, and some of its services wait long; so it is
never loaded into the collector. The addresses, which are secrets, go through a pipe.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import msgspec

from collector.alerts.outbox import Notification

LIMIT_S = 180.0


class Delivery(msgspec.Struct, frozen=True):
    """A message and its address."""

    url: str
    message: Notification


class DeliveryOutcome(msgspec.Struct, frozen=True):
    """What became of a delivery: `reason` is None if it was sent."""

    number: int
    reason: str | None = None


def deliver(deliveries: Sequence[Delivery], limit_s: float = LIMIT_S) -> Iterator[DeliveryOutcome]:
    """Gives what became of each delivery as soon as it is known; within `limit_s`, or the rest has failed."""
    command = [sys.executable, "-m", "collector.alerts.apprise_process"]
    open_ = set(range(len(deliveries)))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        alarm = threading.Timer(limit_s, child.kill)
        alarm.start()
        try:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(msgspec.json.encode(list(deliveries)))
            for line in child.stdout:
                outcome = msgspec.json.decode(line, type=DeliveryOutcome)
                open_.discard(outcome.number)
                yield outcome
        finally:
            alarm.cancel()
            if child.poll() is None:
                child.kill()
    for number in sorted(open_):
        yield DeliveryOutcome(number, f"not sent within {limit_s:g} s, or the sending process was stopped")
