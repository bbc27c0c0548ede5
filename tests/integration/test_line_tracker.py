"""Lines are judged from what was read of them before and what is new, as if all were read again."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from collector.judge import line_tracker
from collector.judge.assess import JudgingRules
from collector.judge.line_states import take_snapshot
from collector.judge.line_tracker import LineTracker
from collector.store import Lines, Store
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import Point
from collector.store.row_types import Sample
from collector.store.sqlite import SqliteStore
from tests.support.stored import AGENT, LINE, NOW, latency, outage, registry, speed

MOBILE = LineId(AGENT, "4g")
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)
RULES = JudgingRules()
TARGETS = {LINE: 150.0, MOBILE: 70.0, LineId("nd-b-2", "ftth"): 150.0}


@pytest.fixture(autouse=True)
def no_reread_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read only because it is a small province."""
    monkeypatch.setattr(line_tracker, "MIN_LINES", 0)


def stored(store: Store) -> None:
    for n, line in enumerate((LINE, MOBILE)):
        store.write([speed(NOW - 4 * HOUR * k, 100 * n + k + 1, line, down_mbps=200.0) for k in range(30)])
        store.write([latency(NOW, 100 * n + 50, line)])


def fallen(line: LineId, since: dt.datetime) -> list[Point]:
    return [speed(since + 10 * MINUTE * n, 500 + n, line, down_mbps=1.0) for n in range(3)]


def states(store: Store, lines: LineTracker, now: dt.datetime) -> dict[str, tuple[str, int]]:
    snapshot = take_snapshot(store, registry(), RULES, now, lines)
    return {f"{s.row.agent}/{s.row.line}": (s.judgement.state, s.judgement.samples) for s in snapshot.lines}


def test_a_line_is_read_again_when_something_of_it_is_stored(store: Store) -> None:
    stored(store)
    lines = LineTracker(store, RULES)
    first = states(store, lines, NOW + MINUTE)
    assert first == {"nd-a-1/ftth": ("meeting", 18), "nd-a-1/4g": ("meeting", 18), "nd-b-2/ftth": ("no_data", 0)}
    new = fallen(MOBILE, NOW - HOUR)
    store.write(new)
    assert states(store, lines, NOW + 2 * MINUTE) == first
    lines.on_stored(new)
    found = states(store, lines, NOW + 3 * MINUTE)
    assert (
        found == {**first, "nd-a-1/4g": ("meeting", 21)} == states(store, LineTracker(store, RULES), NOW + 3 * MINUTE)
    )


def test_within_the_hour_a_line_is_read_again_in_any_case(store: Store) -> None:
    """`xomnet collector resend` writes beside the collector."""
    stored(store)
    lines = LineTracker(store, RULES)
    states(store, lines, NOW + MINUTE)
    store.write(fallen(MOBILE, NOW - HOUR))
    seen = [states(store, lines, NOW + n * MINUTE)["nd-a-1/4g"][1] for n in range(2, 63)]
    assert seen[0] == 18
    assert seen[-1] >= 20
    assert states(store, lines, NOW + 63 * MINUTE) == states(store, LineTracker(store, RULES), NOW + 63 * MINUTE)


def test_latency_alone_keeps_a_line_from_being_silent(store: Store) -> None:
    stored(store)
    lines = LineTracker(store, RULES)
    lines.update(TARGETS, NOW)
    lines.on_stored([latency(NOW + HOUR, 60)])
    found = states(store, lines, NOW + HOUR + MINUTE)
    assert (found["nd-a-1/ftth"][0], found["nd-a-1/4g"][0]) == ("meeting", "silent")


def test_a_line_with_another_target_is_judged_again(store: Store) -> None:
    stored(store)
    lines = LineTracker(store, RULES)
    row = registry().current(NOW)[0]
    for target, state in ((150.0, "meeting"), (300.0, "short"), (150.0, "meeting")):
        lines.update({**TARGETS, LINE: target}, NOW)
        assert lines.judgement(row, target, NOW)[0].state == state


def test_what_was_new_is_read_when_the_store_is_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(store)
    lines = LineTracker(store, RULES)
    lines.update(TARGETS, NOW)
    new = fallen(LINE, NOW + MINUTE)
    store.write(new)
    lines.on_stored(new)

    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "samples", away)
        with pytest.raises(StoreUnavailable):
            lines.update(TARGETS, NOW + HOUR / 2)
    lines.update(TARGETS, NOW + HOUR / 2)
    assert lines.judgement(registry().current(NOW)[0], 150.0, NOW + HOUR / 2)[0].samples == 21


def test_a_line_with_too_many_tests_is_judged_by_its_latest(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(line_tracker, "MAX_TESTS", 12)
    stored(store)
    store.write([speed(NOW - HOUR + MINUTE * n, 300 + n, down_mbps=160.0) for n in range(40)])
    lines, file = LineTracker(store, RULES, tmp_path / "courses.json"), tmp_path / "courses.json"
    found = states(store, lines, NOW)
    assert found == {"nd-a-1/ftth": ("meeting", 12), "nd-a-1/4g": ("meeting", 12), "nd-b-2/ftth": ("no_data", 0)}
    row = registry().current(NOW)[0]
    judged, window = lines.judgement(row, 150.0, NOW)
    assert (judged.median_mbps, window[0].at, len(window)) == (160.0, NOW - HOUR + 28 * MINUTE, 12)
    lines.save_checkpoint(NOW)
    assert states(store, LineTracker(store, RULES, file), NOW) == found


class Asked:
    """A store that notes of which lines all tests were asked for."""

    def __init__(self, store: Store, patch: pytest.MonkeyPatch) -> None:
        self.lines: list[LineId] = []
        samples = store.samples

        def noted(
            since: dt.datetime, until: dt.datetime, lines: Lines = None, latest: int | None = None
        ) -> dict[LineId, list[Sample]]:
            self.lines += lines or ()
            return samples(since, until, lines, latest)

        patch.setattr(store, "samples", noted)
        patch.setattr(LineTracker, "_reread_count", lambda *_: 0)  # nothing is read only because its turn has come

    def take(self) -> list[LineId]:
        taken, self.lines = sorted(self.lines), []
        return taken


def test_a_new_process_reads_only_what_is_newer_than_the_checkpoint(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store)
    monkeypatch.setattr(line_tracker, "LINES_A_QUERY", 1)
    asked, file = Asked(store, monkeypatch), tmp_path / "courses.json"
    all_ = sorted(LineId.of(row) for row in registry().current(NOW))

    def begun(now: dt.datetime, rules: JudgingRules = RULES) -> dict[str, tuple[str, int]]:
        """What a new process finds is what one finds that reads all."""
        one = LineTracker(store, rules, file)
        found = states(store, one, now)
        read = asked.take()
        assert found == states(store, LineTracker(store, rules), now)
        asked.take()
        asked.lines = read
        return found

    begun(NOW + MINUTE)
    assert asked.take() == all_
    first = begun(NOW + 2 * MINUTE)
    assert (first["nd-a-1/ftth"], asked.take()) == (("meeting", 18), [])
    store.write(fallen(MOBILE, NOW + 3 * MINUTE))
    assert begun(NOW + 24 * MINUTE)["nd-a-1/4g"] == ("meeting", 21)
    assert asked.take() == [MOBILE]
    begun(NOW + 25 * MINUTE, replace(RULES, window=RULES.window / 2))
    assert asked.take() == all_  # other rules
    file.write_text('{"made_by": "', encoding="utf-8")
    begun(NOW + 26 * MINUTE)
    assert asked.take() == all_  # torn
    begun(NOW + 26 * MINUTE + HOUR)
    assert asked.take() == all_  # too long ago: another process may have written


def test_of_what_is_stored_and_not_read_yet_nothing_is_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store)
    file = tmp_path / "courses.json"
    one = LineTracker(store, RULES, file)
    states(store, one, NOW + MINUTE)
    late = fallen(MOBILE, NOW - HOUR)
    store.write(late)
    one.on_stored(late)
    one.save_checkpoint(NOW + 2 * MINUTE)
    asked = Asked(store, monkeypatch)
    assert states(store, LineTracker(store, RULES, file), NOW + 3 * MINUTE)["nd-a-1/4g"] == ("meeting", 21)
    assert asked.take() == [MOBILE]


def test_another_target_makes_what_was_kept_worthless(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(store)
    file = tmp_path / "courses.json"
    LineTracker(store, RULES, file).update(TARGETS, NOW + MINUTE)
    asked, restarted = Asked(store, monkeypatch), LineTracker(store, RULES, file)
    restarted.update({**TARGETS, LINE: 300.0}, NOW + 2 * MINUTE)
    assert asked.take() == [LINE]
    assert restarted.judgement(registry().current(NOW)[0], 300.0, NOW + 2 * MINUTE)[0].state == "short"


# --- never heard, and heard before

DAY = dt.timedelta(days=1)
NEVER = LineId("nd-b-2", "ftth")


def judged(lines: LineTracker, now: dt.datetime, line: LineId = NEVER) -> tuple[str, dt.datetime | None]:
    """State and last result of a line, looked at now."""
    lines.update(TARGETS, now)
    row = next(row for row in registry().current(now) if LineId.of(row) == line)
    found, _ = lines.judgement(row, TARGETS[line], now)
    return found.state, found.last_result_at


def test_a_line_is_without_data_until_its_first_result_and_silent_from_then_on(store: Store) -> None:
    lines = LineTracker(store, RULES)
    assert judged(lines, NOW) == ("no_data", None)
    first = [latency(NOW + MINUTE, 1, NEVER)]
    store.write(first)
    lines.on_stored(first)
    assert judged(lines, NOW + 2 * MINUTE) == ("uncertain", NOW + MINUTE)
    assert judged(lines, NOW + HOUR) == ("silent", NOW + MINUTE)


def test_a_line_that_was_last_heard_long_ago_is_silent(store: Store) -> None:
    heard = NOW - 100 * DAY
    store.write([latency(heard, 1, NEVER)])
    assert judged(LineTracker(store, RULES), NOW) == ("silent", heard)


def test_an_outage_alone_is_not_a_result_of_a_line(store: Store) -> None:
    store.write([outage(NOW - HOUR, 1, NEVER)])
    assert judged(LineTracker(store, RULES), NOW) == ("no_data", None)


def test_a_result_that_another_process_wrote_is_found_when_the_lines_turn_comes(store: Store) -> None:
    lines = LineTracker(store, RULES)
    assert judged(lines, NOW) == ("no_data", None)
    store.write([latency(NOW - 2 * DAY, 1, NEVER)])
    found = {judged(lines, NOW + n * MINUTE) for n in range(1, 63)}
    assert found == {("no_data", None), ("silent", NOW - 2 * DAY)}


def emptied(folder: Path, name: str) -> Store:
    """A store whose retention has let go of everything."""
    return SqliteStore(folder / f"{name}.db")


def test_a_silent_line_stays_silent_when_all_its_results_are_gone(store: Store, tmp_path: Path) -> None:
    heard, file = NOW - 100 * DAY, tmp_path / "courses.json"
    store.write([latency(heard, 1, NEVER)])
    LineTracker(store, RULES, file).update(TARGETS, NOW)
    gone = emptied(tmp_path, "gone")
    assert judged(LineTracker(gone, RULES), NOW + MINUTE) == ("no_data", None), "nothing else tells"
    again = LineTracker(gone, RULES, file)
    assert judged(again, NOW + MINUTE) == ("silent", heard)
    again.save_checkpoint(NOW + MINUTE)
    other_rules = LineTracker(gone, replace(RULES, window=RULES.window / 2), file)
    assert judged(other_rules, NOW + 3 * DAY) == ("silent", heard), "whoever wrote the file, and whenever"
    gone.close()


def test_the_file_of_an_earlier_version_is_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(store)
    file, gone = tmp_path / "courses.json", emptied(tmp_path, "gone")
    LineTracker(store, RULES, file).update(TARGETS, NOW + MINUTE)
    written = msgspec.json.decode(file.read_bytes())
    file.write_bytes(msgspec.json.encode({name: written[name] for name in ("made_by", "courses")}))
    asked = Asked(store, monkeypatch)
    assert states(store, LineTracker(store, RULES, file), NOW + 2 * MINUTE)["nd-a-1/ftth"] == ("meeting", 18)
    assert asked.take() == []
    file.write_bytes(msgspec.json.encode({**written, "made_by": "another version", "courses": [{"of": "its own"}]}))
    assert judged(LineTracker(gone, RULES, file), NOW + HOUR, LINE) == ("silent", NOW)
    gone.close()


def test_a_line_that_leaves_the_registry_and_comes_back_was_heard(store: Store, tmp_path: Path) -> None:
    store.write([latency(NOW, 1, NEVER)])
    file, gone = tmp_path / "courses.json", emptied(tmp_path, "gone")
    lines = LineTracker(store, RULES, file)
    lines.update(TARGETS, NOW)
    lines.update({LINE: TARGETS[LINE]}, NOW + MINUTE)
    lines.save_checkpoint(NOW + MINUTE)
    assert judged(LineTracker(gone, RULES, file), NOW + HOUR) == ("silent", NOW)
    assert judged(lines, NOW + HOUR) == ("silent", NOW)
    gone.close()


def test_while_the_store_is_away_no_line_is_called_without_data(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = NOW - 100 * DAY
    store.write([latency(heard, 1, NEVER)])
    lines, last_results = LineTracker(store, RULES), store.last_results

    def away(since: dt.datetime, lines: Lines = None) -> dict[LineId, dt.datetime]:
        if lines is not None:
            raise StoreUnavailable("away")
        return last_results(since)

    with monkeypatch.context() as patch:
        patch.setattr(store, "last_results", away)
        with pytest.raises(StoreUnavailable):
            lines.update(TARGETS, NOW)
    assert judged(lines, NOW + MINUTE) == ("silent", heard)
