"""One download test of a line: which server measures, what a failure means, how many bytes it took."""

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from agent.engines import ENGINES
from agent.errors import MeasurementError, ServersBusy
from agent.measure.conditions import TestConditions
from agent.measure.engines import Engine, Progress, TestSpec, engine
from agent.measure.latency import Anchor, probe
from agent.settings import LatencySettings, LineSettings
from xomnet.contract.messages import Flag, Speed
from xomnet.contract.values import to_text

METERED_MEASURED_S, UNMETERED_MEASURED_S = 6.0, 10.0
METERED_BYTES, UNMETERED_BYTES = 40_000_000, 200_000_000
LINE_ERRORS = frozenset(
    {"dns_failure", "connect_timeout", "unreachable", "interface_down", "stalled", "reset", "network_error", "timeout"}
)
"""Errors that a line that is down would cause. Whether it is down is decided by the anchors."""
ANCHOR_PROBE = LatencySettings(echoes=3, interval_ms=200, timeout_ms=1000)
NO_PROGRESS: Callable[[Progress], None] = lambda _: None  # noqa: E731


def wanted_bytes(line: LineSettings) -> int:
    """The byte cap of a test of this line; all that a test may come to where its engine keeps no cap."""
    uncapped = ENGINES[line.engine].uncapped_bytes
    if uncapped is not None:
        return uncapped
    return METERED_BYTES if line.is_metered else UNMETERED_BYTES


def download(
    line: LineSettings,
    servers: Sequence[str],
    anchors: Sequence[Anchor],
    max_bytes: int,
    cancelled: threading.Event,
    full: bool = False,
    progress: Callable[[Progress], None] = NO_PROGRESS,
    last_try: bool = True,
    cross_traffic_mbps: float | None = None,
    named_hosts: tuple[str, ...] | None = None,
    permission: str | None = None,
) -> Speed:
    """Tests the servers in order until one gives a figure; returns a result in any case, a failed one with its error.

    Raises ServersBusy unless this is the `last_try`. `full`: an audit, no early stop. Cross traffic is flagged above
    `cross_traffic_mbps`; None: 2% of the figure. Only servers of `named_hosts` may have private addresses. `permission`
    is shown to the servers.
    """
    conditions = TestConditions(line)

    def on_progress(now: Progress) -> None:
        conditions.on_progress(now)
        progress(now)

    test = TestSpec(
        server="",
        interface=line.interface,
        streams=line.streams,
        max_bytes=max_bytes,
        max_measured_s=METERED_MEASURED_S if line.is_metered else UNMETERED_MEASURED_S,
        named_hosts=named_hosts,
        full=full,
        permission=permission,
        cancelled=cancelled,
        progress=on_progress,
    )
    with contextlib.closing(conditions):
        result = _first_that_answers(engine(line.engine), line.engine, test, servers, anchors, last_try)
        return conditions.annotate(result, cross_traffic_mbps)


def _first_that_answers(
    measure: Engine, name: str, test: TestSpec, servers: Sequence[str], anchors: Sequence[Anchor], last_try: bool
) -> Speed:
    failures: list[tuple[str, MeasurementError]] = []
    spent = 0
    for server in servers or ("",):
        try:
            result = measure(dataclasses.replace(test, server=server, max_bytes=test.max_bytes - spent))
        except MeasurementError as failed:
            failures.append((server, failed))
            spent += failed.bytes
            if test.cancelled.is_set() or spent >= test.max_bytes:
                break
            continue
        flags: tuple[Flag, ...] = ("server_fallback",) if failures else ()
        return replace(result, bytes=(result.bytes or 0) + spent, flags=(*result.flags, *flags))
    busy = [failed.retry_after_s or 60.0 for _, failed in failures if failed.error == "server_busy"]
    if busy and not last_try:
        raise ServersBusy(min(busy))
    server, first = failures[0]
    return Speed(
        engine=name,
        server=server,
        bytes=spent,
        flags=(*first.flags, *_fault_flags([f for _, f in failures], test.interface, anchors)),
        error=first.error,
        error_detail=to_text(first.detail),
    )


def _fault_flags(
    failures: Sequence[MeasurementError], interface: str | None, anchors: Sequence[Anchor]
) -> tuple[Flag, ...]:
    """The flags that say whose fault a failed test is.

    `link_down` if all servers failed with LINE_ERRORS and no anchor answers: then the line's 0 is valid.
    """
    if any(failed.error == "interface_missing" for failed in failures):
        return ("unit_fault",)
    if not anchors or not all(failed.error in LINE_ERRORS for failed in failures):
        return ()
    return ("link_down",) if probe(anchors, interface, ANCHOR_PROBE).received == 0 else ()
