"""Latency, packet loss and jitter to a few anchors: by ICMP without privileges, by TCP connect if that is not
allowed.
"""

import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, quantiles
from urllib.parse import urlsplit

import icmplib

from agent.errors import MeasurementError
from agent.net.dns import check_reach, resolve
from agent.net.sockets import connect_ms, pin
from agent.settings import LatencySettings
from xomnet.contract.messages import Latency
from xomnet.contract.values import to_text

TCP_PORT = 443
"""The port of a TCP connect if an anchor names none; a refusal is an answer too."""

NAME_S = 30.0
"""The time that finding an anchor's name may take."""

RoundTrip = float | None
"""Milliseconds; None if nothing answered."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A host that answers echoes; by ICMP if `port` is None, else by TCP connect."""

    host: str
    port: int | None = None
    named_hosts: tuple[str, ...] | None = None
    """Hosts whose addresses may be private; None: all."""


def parse_anchor(text: str) -> Anchor:
    """`host` or `host:port`; an IPv6 address with a port is in brackets."""
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and ":" not in host.strip("[]")[: 0 if host.startswith("[") else None]:
        return Anchor(host.strip("[]"), int(port))
    return Anchor(text.strip("[]"))


def probe(anchors: Sequence[Anchor], interface: str | None, settings: LatencySettings) -> Latency:
    """Sends echoes to each anchor, one anchor after the other. A name that does not resolve counts as lost echoes."""
    trips: list[list[RoundTrip]] = []
    methods: list[str] = []
    problems: list[str] = []
    for anchor in anchors:
        echo, method = _echo(anchor, interface, settings.timeout_ms / 1000)
        methods.append(method)
        if isinstance(echo, str):
            problems.append(echo)
            trips.append([None] * settings.echoes)
        else:
            trips.append(_series(echo, settings))
    method = methods[0] if len(set(methods)) == 1 else "mixed"
    return summary(method, [_label(anchor) for anchor in anchors], trips, problems[0] if problems else None)


def max_probe_s(anchors: int, settings: LatencySettings) -> float:
    """Seconds that a probe of this many anchors takes at most: every echo lost, every name found at the last moment."""
    return anchors * (NAME_S + settings.echoes * max(settings.interval_ms, settings.timeout_ms) / 1000)


def _label(anchor: Anchor) -> str:
    return anchor.host if anchor.port is None else f"{anchor.host}:{anchor.port}"


def _series(echo: Callable[[int], RoundTrip], settings: LatencySettings) -> list[RoundTrip]:
    found: list[RoundTrip] = []
    for number in range(settings.echoes):
        start = time.monotonic()
        found.append(echo(number))
        if number + 1 < settings.echoes:
            time.sleep(max(0.0, settings.interval_ms / 1000 - (time.monotonic() - start)))
    return found


def summary(
    method: str, anchors: Sequence[str], trips: Sequence[Sequence[RoundTrip]], problem: str | None = None
) -> Latency:
    """The figures of series of echoes, one for each anchor. Pure.

    Jitter is the mean absolute difference of consecutive round trips within a series.
    """
    answered = [trip for series in trips for trip in series if trip is not None]
    sent = sum(len(series) for series in trips)
    steps = [
        abs(after - before)
        for series in trips
        for before, after in pairwise(series)
        if before is not None and after is not None
    ]
    return Latency(
        method=method,
        anchors=tuple(anchors),
        sent=sent,
        received=len(answered),
        loss_percent=100.0 * (sent - len(answered)) / sent,
        rtt_min_ms=min(answered) if answered else None,
        rtt_p50_ms=median(answered) if answered else None,
        rtt_p95_ms=_p95(answered),
        jitter_ms=fmean(steps) if steps else None,
        error="unreachable" if not answered else None,
        error_detail=None if problem is None else to_text(problem),
    )


def _p95(values: list[float]) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return quantiles(values, n=20, method="inclusive")[-1]


def _echo(anchor: Anchor, interface: str | None, timeout_s: float) -> tuple[Callable[[int], RoundTrip] | str, str]:
    """The function that sends an echo to an anchor, and the method's name; an error text in place of the function if
    the name does not resolve.
    """
    method = "icmp" if anchor.port is None else "tcp"
    try:
        address = resolve(anchor.host, anchor.port or TCP_PORT, interface)
        check_reach(anchor.host, address, anchor.named_hosts)
        if (
            anchor.port is None
            and address[0] == socket.AF_INET
            and (echo := _icmp(address[1][0], interface, timeout_s))
        ):
            return echo, "icmp"
    except MeasurementError as failed:
        return str(failed), method

    def tcp(_: int) -> RoundTrip:
        try:
            return connect_ms(address, interface, timeout_s)
        except (OSError, MeasurementError):
            return None

    return tcp, "tcp"


def _icmp(host: str, interface: str | None, timeout_s: float) -> Callable[[int], RoundTrip] | None:
    """None if the system does not let us send echoes (net.ipv4.ping_group_range)."""
    identity = secrets.randbelow(0xFFFF)

    def echo(number: int) -> RoundTrip:
        try:
            with icmplib.ICMPv4Socket(privileged=False) as sock:
                pin(sock.sock, interface)
                request = icmplib.ICMPRequest(host, identity, number)
                sock.send(request)
                reply = sock.receive(request, timeout_s)
                reply.raise_for_status()
                return float((reply.time - request.time) * 1000)
        except (icmplib.ICMPLibError, OSError, MeasurementError):
            return None

    try:
        icmplib.ICMPv4Socket(privileged=False).close()
    except icmplib.SocketPermissionError:
        return None
    return echo


def server_anchors(servers: Sequence[str]) -> tuple[Anchor, ...]:
    """The first two measurement servers as anchors of latency, for a unit without anchors.

    They can't tell whose fault a failed test is, so they are not probed then.
    """
    found = [urlsplit(server) for server in servers[:2]]
    return tuple(Anchor(url.hostname, url.port or 80) for url in found if url.hostname)
