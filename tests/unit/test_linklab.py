"""Values of the link laboratory: traces and links, and what a person reads who writes a wrong one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.linklab import build, namespaces
from bench.linklab.__main__ import link_from, parser
from bench.linklab.emulator import statistics_from
from bench.linklab.link import Boost, BurstLoss, Direction, Link, LinkError, Police, Reorder
from bench.linklab.trace import TraceError, load_trace, mean_mbps, mobile_trace, parse_trace, write_trace


def test_a_trace_is_read_line_by_line() -> None:
    assert parse_trace("0\n0\n5\n10\n") == (0, 0, 5, 10)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\nx\n", "t:2: found 'x'; a line is one whole number of milliseconds"),
        ("1\n\n3\n", "t:2: found ''"),
        ("1\n-2\n", "t:2: found '-2'"),
        ("1\n2.5\n", "t:2: found '2.5'"),
        ("1\n²\n", "t:2: found '²'"),
        ("4\n3\n", "t:2: found 3 after 4; timestamps never fall"),
        ("", "t: found 0 lines; the last line is the length of the trace, 1 ms or more"),
        ("0\n0\n", "t: found 2 lines of 0; the last line"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(TraceError) as refused:
        parse_trace(text, "t")
    assert str(refused.value).startswith(told)


def test_a_trace_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nothing.*No such file.*one millisecond timestamp a line"):
        load_trace(tmp_path / "nothing")


def test_the_mean_of_a_trace_is_over_its_length() -> None:
    assert mean_mbps((1, 2, 3, 4)) == pytest.approx(12)  # a packet of 12,000 bits each millisecond


@given(st.floats(1, 200), st.integers(0, 1000))
def test_a_mobile_trace_has_the_mean_that_was_asked_for(mbps: float, seed: int) -> None:
    times = mobile_trace(mbps, seconds=10, seed=seed)
    assert mean_mbps(times) == pytest.approx(mbps, rel=0.01)
    assert times[-1] == 10_000
    assert list(times) == sorted(times)


def test_a_trace_survives_its_file(tmp_path: Path) -> None:
    times = mobile_trace(20, seconds=1)
    assert load_trace(write_trace(tmp_path / "trace", times)) == times
    assert Link(trace=tmp_path / "trace").down.nominal_mbps == mean_mbps(times)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Link, "rate_mbps, trace, steps: found []; allowed: exactly one of them"),
        (lambda: Link(rate_mbps=5, steps=((0, 5),)), "found ['rate_mbps', 'steps']; allowed: exactly one"),
        (lambda: Link(rate_mbps=-1), "rate_mbps: found -1; allowed: 0.1 to 1000"),
        (lambda: Link(rate_mbps=2000), "rate_mbps: found 2000; allowed: 0.1 to 1000"),
        (lambda: Link(rate_mbps=float("nan")), "rate_mbps: found nan"),
        (lambda: Link(rate_mbps="5"), "rate_mbps: found '5'"),  # type: ignore[arg-type]
        (lambda: Link(rate_mbps=5, rtt_ms=-1), "rtt_ms: found -1; allowed: 0 to 4000"),
        (lambda: Link(rate_mbps=5, rtt_ms=10, jitter_ms=6), "jitter_ms: found 6; allowed: 0 to delay_ms (5)"),
        (lambda: Link(rate_mbps=5, loss=1), "loss: found 1; allowed: a share of the packets, 0 to 0.5"),
        (lambda: Link(rate_mbps=5, buffer_ms=1), "buffer: found 625; allowed: 1500 bytes (one packet) or more"),
        (lambda: Link(rate_mbps=5, buffer_ms=9, buffer_bytes=9000), "buffer_ms, buffer_bytes: found (9, 9000)"),
        (lambda: Link(steps=((1, 5),)), "steps: found [1]; allowed: seconds that begin with 0 and rise"),
        (lambda: Link(steps=((0, 5), (2, 3), (2, 4))), "steps: found [0, 2, 2]; allowed: seconds that begin"),
        (lambda: Link(steps=((0, 5), (2, 0))), "steps: found [5, 0]; allowed: 0 to 1000 Mb/s, not 0 at first or last"),
        (lambda: Link(rate_mbps=5, boost=Boost(5, 1)), "boost.then_mbps: found 5; allowed: less than rate_mbps (5)"),
        (lambda: Link(steps=((0, 5),), boost=Boost(3, 1)), "boost: found ['steps']; allowed: only with rate_mbps"),
        (lambda: Link(rate_mbps=5, congestion="vegas"), "congestion: found 'vegas'; allowed: cubic, bbr, reno"),  # type: ignore[arg-type]
        (lambda: Link(rate_mbps=5, kind="netem"), "kind: found 'netem'; allowed: tun, tbf"),  # type: ignore[arg-type]
        (lambda: Link(rate_mbps=5, kind="tbf", rtt_ms=5), "kind='tbf': found ['rtt_ms']; allowed: only rate_mbps"),
        (lambda: Link(rate_mbps=5, up_mbps=5, up=Direction(rate_mbps=5)), "up, up_mbps: found"),
        (lambda: Link(rate_mbps=5, up_mbps=0), "rate_mbps, trace, steps: found []"),
        (lambda: BurstLoss(0, 5), "burst_loss.share: found 0; allowed: 0 to 0.5, without 0"),
        (lambda: BurstLoss(0.1, 0.5), "burst_loss.length: found 0.5; allowed: 1 to 10000 packets"),
        (lambda: Boost(5, 0), "boost.seconds: found 0"),
        (lambda: Police(5, 100), "police.burst_bytes: found 100; allowed: 1500 or more"),
        (lambda: Reorder(0.1, 0), "reorder.late_ms: found 0"),
    ],
)
def test_a_wrong_link_is_refused_with_what_was_found_and_what_is_allowed(make: Callable[[], object], told: str) -> None:
    with pytest.raises(LinkError) as refused:
        make()
    assert told in str(refused.value)


def test_the_emulator_is_told_bytes() -> None:
    link = Link(rate_mbps=80, rtt_ms=30, buffer_ms=100, boost=Boost(40, 3), burst_loss=BurstLoss(0.2, 4))
    told = link.down.settings()
    assert float(told["rate"]) == 10_000_000
    assert told["delay_ms"] == "15.0"
    assert told["buffer"] == "1000000"
    assert [float(part) for part in told["boost"].split(",")] == [5e6, 15e6]  # 40 Mb/s more than it gets back, for 3 s
    assert (told["burst_leave"], told["burst_enter"]) == ("0.25", "0.0625")  # a fifth of the time inside
    up = {key: float(value) for key, value in link.way_up.settings().items()}
    assert up == {"rate": 10e6, "delay_ms": 15, "loss": 0, "buffer": 800_000}


def test_the_command_line_makes_the_same_link() -> None:
    given = parser().parse_args(["--steps", "0:100,3:50", "--rtt", "40", "--up", "20", "--", "ping", "-c", "1", "x"])
    assert link_from(given) == Link(steps=((0, 100), (3, 50)), rtt_ms=40, up_mbps=20)
    assert given.command == ["ping", "-c", "1", "x"]
    with pytest.raises(LinkError, match=r"--steps: found 'fast'; allowed: SECOND:MBPS"):
        link_from(parser().parse_args(["--steps", "fast", "--", "true"]))


def counted(**direction: object) -> str:
    whole = dict.fromkeys(("read_packets", "read_bytes", "delivered_bytes", "lost", "policed", "overflowed"), 0)
    whole |= dict.fromkeys(("reordered", "late", "no_slot", "write_errors", "device_drops", "starved_s"), 0)
    whole |= dict.fromkeys(("lateness_mean_ms", "lateness_max_ms", "queued_mean_ms", "queued_max_ms"), 0)
    plain: dict[str, object] = {**whole, "delivered_packets": 1000, "bins_start_s": 7.0}
    plain |= {"bin_bytes": [12500] * 20, "bin_queued_ms": [0.0] * 20}
    process = {"wall_s": 2.0, "cpu_s": 0.5, "real_time": True, "rounds": 1, "stalls": 0, "stall_max_ms": 0.0}
    return json.dumps({**process, "down": {**plain, **direction}, "up": plain})


def test_an_emulator_that_did_not_keep_up_says_why() -> None:
    assert statistics_from(counted(late=49)).overrun() is None
    assert statistics_from(counted(late=49)).overrun(late_share=0.01) is not None
    for trouble in ({"late": 51}, {"device_drops": 1}, {"no_slot": 1}, {"write_errors": 1}):
        assert (statistics_from(counted(**trouble)).overrun() or "").startswith("down: ")


def test_a_rate_is_taken_from_the_whole_tenths_of_a_second_inside_a_window() -> None:
    down = statistics_from(counted(bin_bytes=[0] * 5 + [125_000] * 10 + [0] * 5)).down
    assert down.mbps(7.5, 8.5) == pytest.approx(10)
    assert down.mbps(7.45, 8.55) == pytest.approx(10)
    assert down.mbps(9.5, 9.9) == 0


def test_a_missing_compiler_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match=r"no C compiler.*apt-get install gcc libc6-dev"):
        build.built("emulator")


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(namespaces.NotAllowed, match="needs root: use sudo"):
        namespaces.check_allowed()
