"""Latency: the figures of echoes, the anchors' spelling, and probes of real sockets."""

import datetime as dt
import socket
import threading
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.measure.latency import Anchor, RoundTrip, parse_anchor, probe, summary
from agent.settings import LatencySettings
from xomnet.contract.messages import Latency, LatencyResult, decode_result, encode

UUID_, NOON = UUID(int=1), dt.datetime(2026, 11, 20, 5, tzinfo=dt.UTC)
QUICK = LatencySettings(echoes=4, interval_ms=10, timeout_ms=200)


@pytest.mark.parametrize(
    ("text", "anchor"),
    [
        ("1.1.1.1", Anchor("1.1.1.1")),
        ("dns.example.vn", Anchor("dns.example.vn")),
        ("1.1.1.1:53", Anchor("1.1.1.1", 53)),
        ("2001:db8::1", Anchor("2001:db8::1")),
        ("[2001:db8::1]", Anchor("2001:db8::1")),
        ("[2001:db8::1]:443", Anchor("2001:db8::1", 443)),
    ],
)
def test_an_anchor_is_a_host_or_a_host_and_a_port(text: str, anchor: Anchor) -> None:
    assert parse_anchor(text) == anchor


def test_the_figures_of_echoes_all_answered() -> None:
    found = summary("icmp", ["a"], [[10.0, 12.0, 11.0, 15.0]])
    assert (found.sent, found.received, found.loss_percent) == (4, 4, 0)
    assert (found.rtt_min_ms, found.rtt_p50_ms) == (10, 11.5)
    assert found.rtt_p95_ms == pytest.approx(14.55)
    assert found.jitter_ms == pytest.approx((2 + 1 + 4) / 3)
    assert (found.error, found.error_detail) == (None, None)


def test_jitter_is_taken_between_neighbours_of_one_anchor_that_both_answered() -> None:
    assert summary("icmp", ["a"], [[10.0, None, 30.0, 31.0]]).jitter_ms == 1
    assert summary("icmp", ["a", "b"], [[10.0, 11.0], [100.0, 103.0]]).jitter_ms == 2
    assert summary("icmp", ["a"], [[10.0, None, 30.0]]).jitter_ms is None


def test_loss_counts_the_echoes_of_all_anchors() -> None:
    found = summary("icmp", ["a", "b"], [[10.0, 10.0], [None, 10.0]])
    assert (found.sent, found.received, found.loss_percent, found.error) == (4, 3, 25, None)


def test_where_nothing_answered_there_is_no_round_trip() -> None:
    found = summary("icmp", ["a", "b"], [[None] * 5, [None] * 5], "dns_failure: a: no such name")
    assert found == Latency(
        method="icmp",
        anchors=("a", "b"),
        sent=10,
        received=0,
        loss_percent=100,
        error="unreachable",
        error_detail="dns_failure: a: no such name",
    )
    assert b"rtt" not in encode(found)
    assert b"jitter" not in encode(found)


def test_one_answer_is_every_quantile() -> None:
    found = summary("icmp", ["a"], [[None, 7.0, None]])
    assert (found.rtt_min_ms, found.rtt_p50_ms, found.rtt_p95_ms, found.jitter_ms) == (7, 7, 7, None)


@given(st.lists(st.lists(st.none() | st.floats(0, 3000), min_size=1, max_size=20), min_size=1, max_size=4))
def test_the_figures_are_in_order_and_fit_the_contract(trips: list[list[RoundTrip]]) -> None:
    found = summary("icmp", [str(n) for n in range(len(trips))], trips)
    assert found.received == sum(trip is not None for series in trips for trip in series)
    if found.received:
        assert found.rtt_min_ms is not None
        assert found.rtt_p50_ms is not None
        assert found.rtt_p95_ms is not None
        assert found.rtt_min_ms <= found.rtt_p50_ms <= found.rtt_p95_ms + 1e-9
    message = encode(
        LatencyResult(
            v=1,
            agent="a",
            spool=UUID_,
            seq=1,
            boot=UUID_,
            at=NOON,
            clock="synced",
            line="ftth",
            data=found,
        )
    )
    assert isinstance(decode_result(message), LatencyResult)


@pytest.fixture
def listener() -> Iterator[int]:
    """A TCP port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield port
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_tcp_anchors_answer_by_accepting_or_by_refusing(listener: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        found = probe([Anchor("127.0.0.1", listener), Anchor("127.0.0.1", unused.getsockname()[1])], None, QUICK)
    assert (found.method, found.sent, found.received, found.error) == ("tcp", 8, 8, None)
    assert found.anchors[0] == f"127.0.0.1:{listener}"
    assert found.rtt_p50_ms is not None
    assert 0 < found.rtt_p50_ms < 50


def test_loopback_answers_echoes() -> None:
    found = probe([Anchor("127.0.0.1")], None, QUICK)
    assert (found.sent, found.received) == (4, 4)
    assert found.method in ("icmp", "tcp")  # tcp where net.ipv4.ping_group_range does not allow echoes


def test_an_anchor_that_does_not_answer_is_lost_echoes_beside_one_that_does(listener: int) -> None:
    found = probe([Anchor("127.0.0.1", listener), Anchor("192.0.2.1", 443)], "lo", QUICK)
    assert (found.sent, found.received, found.error) == (8, 4, None)


def test_a_name_that_does_not_resolve_is_lost_echoes_and_is_named(listener: int) -> None:
    found = probe([Anchor("no-such-host.invalid"), Anchor("127.0.0.1", listener)], None, QUICK)
    assert (found.received, found.method) == (4, "mixed")
    assert "no-such-host.invalid" in (found.error_detail or "")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "..", "exa mple"])
def test_what_can_be_no_name_is_lost_echoes_and_no_exception(host: str) -> None:
    found = probe([Anchor(host, 80)], None, QUICK)
    assert (found.received, found.error) == (0, "unreachable")
    assert "dns_failure" in (found.error_detail or "")


def test_a_port_that_is_none_is_lost_echoes_and_is_named() -> None:
    found = probe([Anchor("127.0.0.1", 99_999)], None, QUICK)
    assert (found.received, found.error) == (0, "unreachable")
    assert "port 99999 is not one of 1 to 65535" in (found.error_detail or "")


@pytest.mark.parametrize("anchor", [Anchor("127.0.0.1"), Anchor("127.0.0.1", 443)])
def test_an_interface_that_is_not_there_answers_nothing(anchor: Anchor) -> None:
    found = probe([anchor], "no-such-if0", QUICK)
    assert (found.received, found.rtt_p50_ms, found.error) == (0, None, "unreachable")
