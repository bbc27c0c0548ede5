"""Failpoints: named places at which the tests of delivery kill this process, as a power cut would.

`XOMNET_FAILPOINT=uplink.published:3` kills it at the third pass of that place. Without the variable, as everywhere but
in the tests, a failpoint is a call of a function that does nothing.
"""

import os
import signal
from collections.abc import Callable

POINTS = (
    "spool.inserted",  # a result is in the transaction, which is not yet committed
    "spool.evicted",  # so is an eviction with its note
    "spool.committed",  # promised, and the uplink does not know yet
    "spool.frozen",  # a re-based time is on disk, its message has not gone out
    "uplink.published",
    "uplink.puback",
    "uplink.acked",  # an ack is read, nothing is deleted yet
    "uplink.forgotten",  # deleted
    "mqtt.connected",  # subscribed, and the handler does not know yet
    "intake.received",  # in the memory of the collector only
    "intake.validated",
    "influx.halved",  # a part of a refused batch is written, the other is not
    "influx.answered",  # the database has spoken, nobody has read it
    "intake.stored",
    "intake.archived",
    "intake.kept",  # a dead letter is on disk
    "intake.acked",  # the acks went out, the PUBACKs did not
    "intake.answered",
)
"""Every place there is: a new one without a test that dies there fails the suite."""


def _kill_at(name: str, passes: int) -> Callable[[str], None]:
    def at(point: str) -> None:
        nonlocal passes
        if point == name:
            passes -= 1
            if passes <= 0:
                os.write(2, f"crash at {point}\n".encode())
                os.kill(os.getpid(), signal.SIGKILL)

    return at


def _do_nothing(point: str) -> None:
    """Goes on."""


def _parse_spec(spec: str | None) -> Callable[[str], None]:
    """The function to call at a failpoint. Raises ValueError if the failpoint does not exist."""
    if spec is None:
        return _do_nothing
    name, _, passes = spec.partition(":")
    if name not in POINTS:
        raise ValueError(f"XOMNET_FAILPOINT: found {name!r}; allowed: {', '.join(POINTS)}")
    return _kill_at(name, int(passes or 1))


at = _parse_spec(os.environ.get("XOMNET_FAILPOINT"))
