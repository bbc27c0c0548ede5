"""Lines are judged from what was read of them before and what is new, as if all were read anew."""

import datetime as dt

import pytest

from collector import followed
from collector.assess import Rules
from collector.followed import Followed
from collector.lines import take_snapshot
from collector.points import Point
from collector.store import LineId, Store, StoreUnavailable
from tests.stored import AGENT, LINE, NOW, latency, registry, speed

MOBILE = LineId(AGENT, "4g")
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
RULES = Rules()
TARGETS = {LINE: 150.0, MOBILE: 70.0, LineId("nd-b-2", "ftth"): 150.0}


@pytest.fixture(autouse=True)
def no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read only because it is a small province."""
    monkeypatch.setattr(followed, "AT_LEAST", 0)


def stored(store: Store) -> None:
    for n, line in enumerate((LINE, MOBILE)):
        store.write([speed(NOW - 4 * HOUR * k, 100 * n + k + 1, line, down_mbps=200.0) for k in range(30)])
        store.write([latency(NOW, 100 * n + 50, line)])


def fallen(line: LineId, since: dt.datetime) -> list[Point]:
    return [speed(since + 10 * MINUTE * n, 500 + n, line, down_mbps=1.0) for n in range(3)]


def states(store: Store, lines: Followed, now: dt.datetime) -> dict[str, tuple[str, int]]:
    snapshot = take_snapshot(store, registry(), RULES, now, lines)
    return {f"{s.row.agent}/{s.row.line}": (s.judgement.state, s.judgement.samples) for s in snapshot.lines}


def test_a_line_is_read_again_when_something_of_it_is_stored(store: Store) -> None:
    stored(store)
    lines = Followed(store, RULES)
    first = states(store, lines, NOW + MINUTE)
    assert first == {"nd-a-1/ftth": ("meeting", 18), "nd-a-1/4g": ("meeting", 18), "nd-b-2/ftth": ("silent", 0)}
    new = fallen(MOBILE, NOW - HOUR)
    store.write(new)
    assert states(store, lines, NOW + 2 * MINUTE) == first
    lines.saw(new)
    found = states(store, lines, NOW + 3 * MINUTE)
    assert found == {**first, "nd-a-1/4g": ("meeting", 21)} == states(store, Followed(store, RULES), NOW + 3 * MINUTE)


def test_within_the_hour_a_line_is_read_again_in_any_case(store: Store) -> None:
    """`xomnet collector resend` writes beside the collector."""
    stored(store)
    lines = Followed(store, RULES)
    states(store, lines, NOW + MINUTE)
    store.write(fallen(MOBILE, NOW - HOUR))
    seen = [states(store, lines, NOW + n * MINUTE)["nd-a-1/4g"][1] for n in range(2, 63)]
    assert seen[0] == 18
    assert seen[-1] >= 20
    assert states(store, lines, NOW + 63 * MINUTE) == states(store, Followed(store, RULES), NOW + 63 * MINUTE)


def test_latency_alone_keeps_a_line_from_being_silent(store: Store) -> None:
    stored(store)
    lines = Followed(store, RULES)
    lines.look(TARGETS, NOW)
    lines.saw([latency(NOW + HOUR, 60)])
    found = states(store, lines, NOW + HOUR + MINUTE)
    assert (found["nd-a-1/ftth"][0], found["nd-a-1/4g"][0]) == ("meeting", "silent")


def test_a_line_with_another_target_is_judged_anew(store: Store) -> None:
    stored(store)
    lines = Followed(store, RULES)
    row = registry().current(NOW)[0]
    for target, state in ((150.0, "meeting"), (300.0, "short"), (150.0, "meeting")):
        lines.look({**TARGETS, LINE: target}, NOW)
        assert lines.judgement(row, target, NOW)[0].state == state


def test_what_was_new_is_read_when_the_store_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(store)
    lines = Followed(store, RULES)
    lines.look(TARGETS, NOW)
    new = fallen(LINE, NOW + MINUTE)
    store.write(new)
    lines.saw(new)

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "samples", away)
        with pytest.raises(StoreUnavailable):
            lines.look(TARGETS, NOW + HOUR / 2)
    lines.look(TARGETS, NOW + HOUR / 2)
    assert lines.judgement(registry().current(NOW)[0], 150.0, NOW + HOUR / 2)[0].samples == 21
