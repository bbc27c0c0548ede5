"""What is told: each trouble once, common causes together, an end for each beginning, and nothing twice."""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.alerts.alert import AlertChange, AlertRules, AlertState
from collector.alerts.conditions import BY_STATE
from collector.alerts.grouping import common_causes
from collector.alerts.rules import evaluate
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from collector.store.row_types import Sample
from xomnet.registry.registry import LineRow
from xomnet.states import State

START = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
RULES = AlertRules()


def row(name: str, isp: str = "VNPT", area: str = "Nam Định/Hải Hậu/Hải Minh") -> LineRow:
    """`agent/line`; a line called 4g is mobile."""
    agent, line = name.split("/")
    access = "mobile" if line == "4g" else "fixed"
    return LineRow(agent, line, access, f"Xóm của {agent}", area, isp, dt.date(2026, 1, 1))  # type: ignore[arg-type]


class Province:
    """Lines whose states are set by hand, and the time that goes on."""

    def __init__(self, rows: Sequence[LineRow], rules: AlertRules = RULES) -> None:
        self.rows = {f"{r.agent}/{r.line}": r for r in rows}
        self.states: dict[str, State] = dict.fromkeys(self.rows, "meeting")
        self.silent_since: dict[str, dt.datetime] = {}
        self.registered_since: dict[str, dt.datetime] = {}
        self.leaning: set[str] = set()
        self.maintained: set[str] = set()
        self.rules, self.now, self.state = rules, START, AlertState()
        self.told: list[AlertChange] = []

    def set(self, state: State, names: Iterable[str]) -> None:
        for name in names:
            if state == "silent" and self.states[name] != "silent":
                self.silent_since[name] = self.now
            self.states[name] = state

    def seen(self) -> list[LineStatus]:
        return [self._status(name) for name in self.rows]

    def _status(self, name: str) -> LineStatus:
        state = self.states[name]
        last = self.silent_since.get(name, self.now) if state == "silent" else None if state == "no_data" else self.now
        since = self.registered_since.get(name) if state == "no_data" else None
        judged = Judgement(state, 9, 150.0, 42.0, last_result_at=last, since=since, leaning=name in self.leaning)
        return LineStatus(self.rows[name], judged, (Sample(self.now, 42.0),))

    def go(self, minutes: float = 0) -> list[AlertChange]:
        """Each minute a decision, over a restart each time: the state goes through its file's form."""
        news: list[AlertChange] = []
        for _ in range(int(minutes) + 1):
            maintained = {LineId(*name.split("/")) for name in self.maintained}
            found, state = evaluate(self.seen(), self.state, maintained, self.rules, self.now)
            self.state = msgspec.json.decode(msgspec.json.encode(state), type=AlertState)
            news += found
            self.now += MINUTE
        self.told += news
        return news


def said(news: Sequence[AlertChange]) -> list[tuple[str, str, str, int]]:
    return [(one.event, one.alert.kind, one.alert.place, len(one.alert.lines)) for one in news]


@pytest.fixture
def few() -> Province:
    return Province(
        [row("a/ftth"), row("a/4g", "Viettel"), row("b/ftth", "FPT"), row("c/ftth", "FPT", "Nam Định/Ý Yên")]
    )


def test_a_line_that_falls_short_is_told_once_after_the_hold(few: Province) -> None:
    few.set("short", ["b/ftth"])
    assert few.go(1) == []
    assert said(few.go(1)) == [("opened", "line", "b/ftth", 1)]
    assert few.go(3000) == []


def test_an_end_is_told_once_when_it_has_lasted(few: Province) -> None:
    few.set("short", ["b/ftth"])
    few.go(60)
    few.set("meeting", ["b/ftth"])
    assert few.go(9) == []
    ended = few.go(3)
    assert said(ended) == [("ended", "line", "b/ftth", 1)]
    assert ended[0].alert.lines[0].good_since == START + 61 * MINUTE
    assert few.go(300) == []
    assert few.state.alerts == ()


def test_a_line_without_data_has_an_alert_a_day_after_it_was_registered(few: Province) -> None:
    few.registered_since["b/ftth"] = START - dt.timedelta(hours=23)
    few.set("no_data", ["b/ftth", "c/ftth"])  # of c nobody knows since when it is registered
    assert few.go(58) == []
    assert said(few.go(4)) == [("opened", "unit", "b", 1)]
    few.set("meeting", ["b/ftth"])
    assert said(few.go(20)) == [("ended", "unit", "b", 1)]
    assert few.go(3000) == []


def test_a_unit_of_which_nothing_was_ever_heard_has_one_alert(few: Province) -> None:
    names = ["a/ftth", "a/4g"]
    few.registered_since = dict.fromkeys(names, START - dt.timedelta(days=2))
    few.set("no_data", names)
    assert said(few.go(90)) == [("opened", "unit", "a", 2)]


def test_a_line_added_to_a_unit_of_which_nothing_was_ever_heard_has_an_alert_of_its_own(few: Province) -> None:
    few.registered_since = {"a/ftth": START - dt.timedelta(days=3), "a/4g": START - dt.timedelta(hours=22)}
    few.set("no_data", ["a/ftth", "a/4g"])
    assert said(few.go(110)) == [("opened", "line", "a/ftth", 1)]
    assert said(few.go(90)) == [("opened", "unit", "a", 2)]
    assert few.go(300) == []


def test_a_line_added_to_a_unit_that_has_an_alert_is_not_the_whole_unit() -> None:
    one = Province([row("a/ftth")])
    one.registered_since["a/ftth"] = START - dt.timedelta(days=3)
    one.set("no_data", ["a/ftth"])
    assert said(one.go(90)) == [("opened", "unit", "a", 1)]
    one.rows["a/4g"] = row("a/4g")
    one.registered_since["a/4g"] = one.now
    one.set("no_data", ["a/4g"])
    assert one.go(23 * 60) == []
    assert said(one.go(120)) == [("opened", "line", "a/4g", 1)]


@pytest.mark.parametrize("between", ["uncertain", "silent"])
def test_what_does_not_decide_ends_nothing(few: Province, between: State) -> None:
    few.set("short", ["b/ftth"])
    few.go(10)
    few.set(between, ["b/ftth"])
    assert few.go(25) == []
    few.set("short", ["b/ftth"])
    assert few.go(60) == []


def test_a_short_line_that_can_not_be_assessed_any_more_ends_its_alert_at_once(few: Province) -> None:
    few.set("short", ["b/ftth"])
    few.set("silent", ["c/ftth"])
    few.go(60)
    few.set("not_assessable", ["b/ftth", "c/ftth"])
    (ended,) = few.go(0)
    assert said([ended]) == [("ended", "line", "b/ftth", 1)]
    assert ended.alert.lines[0].end == "not_assessable"
    assert said(few.go(12)) == [("ended", "unit", "c", 1)], "it was heard of: silence is over as always"


def test_evidence_that_only_leans_is_not_told(few: Province) -> None:
    few.set("uncertain", ["b/ftth"])
    few.leaning.add("b/ftth")
    assert few.go(600) == []


def test_silence_is_told_after_its_time_and_ends_with_a_result(few: Province) -> None:
    few.set("silent", ["c/ftth"])
    assert few.go(30) == []
    assert said(few.go(5)) == [("opened", "unit", "c", 1)]
    few.set("uncertain", ["c/ftth"])
    assert said(few.go(20)) == [("ended", "unit", "c", 1)]


def test_a_unit_whose_lines_all_fell_silent_is_one_message(few: Province) -> None:
    few.set("silent", ["a/ftth"])
    few.go(4)
    few.set("silent", ["a/4g"])
    assert said(few.go(60)) == [("opened", "unit", "a", 2)]


def test_one_silent_line_of_a_unit_that_speaks_is_the_lines_own(few: Province) -> None:
    few.set("silent", ["a/4g"])
    assert said(few.go(60)) == [("opened", "line", "a/4g", 1)]
    few.set("silent", ["a/ftth"])
    later = few.go(60)
    assert said(later) == [("opened", "unit", "a", 2)]
    assert later[0].alert.alerted_before == 1


def test_a_unit_that_speaks_again_is_told_with_what_is_still_silent(few: Province) -> None:
    few.set("silent", ["a/ftth", "a/4g"])
    few.go(60)
    few.set("meeting", ["a/ftth"])
    ended = few.go(20)
    assert said(ended) == [("ended", "unit", "a", 2)]
    assert [one.line for one in ended[0].remaining] == ["4g"]
    few.set("meeting", ["a/4g"])
    assert said(few.go(30)) == [("ended", "line", "a/4g", 1)]


def test_a_line_that_was_never_heard_is_not_told(few: Province) -> None:
    few.set("no_data", ["c/ftth"])
    assert few.go(600) == []


def test_a_line_that_was_never_heard_does_not_keep_its_unit_from_being_one_message(few: Province) -> None:
    few.set("no_data", ["a/4g"])
    few.set("silent", ["a/ftth"])
    assert said(few.go(60)) == [("opened", "unit", "a", 1)]


def test_what_comes_and_goes_is_told_less_and_less(few: Province) -> None:
    for _ in range(48):  # a day
        few.set("short", ["b/ftth"])
        few.go(14)
        few.set("meeting", ["b/ftth"])
        few.go(14)
    assert 2 <= sum(one.event == "opened" for one in few.told) <= 3


def test_maintenance_tells_nothing_and_its_end_what_is_still_wrong(few: Province) -> None:
    few.maintained.add("b/ftth")
    few.set("short", ["b/ftth"])
    assert few.go(600) == []
    few.maintained.clear()
    assert said(few.go(5)) == [("opened", "line", "b/ftth", 1)]


def test_a_line_taken_from_the_registry_ends_its_alert(few: Province) -> None:
    few.set("short", ["b/ftth"])
    few.go(10)
    del few.rows["b/ftth"]
    ended = few.go(0)
    assert said(ended) == [("ended", "line", "b/ftth", 1)]
    assert ended[0].alert.lines[0].end == "unregistered"


# --- common causes


def forty() -> Province:
    """Ten units in each of two districts: fixed VNPT; mobile Viettel and, at every second, MobiFone."""
    rows = []
    for number in range(20):
        area = f"Nam Định/{'Hải Hậu' if number < 10 else 'Ý Yên'}/Xã {number % 5}"
        rows += [
            row(f"u{number}/ftth", "VNPT", area),
            row(f"u{number}/4g", "Viettel" if number % 2 else "MobiFone", area),
        ]
    return Province(rows)


def viettel(province: Province) -> list[str]:
    return [name for name, r in province.rows.items() if r.isp == "Viettel"]


def test_a_provider_that_falls_is_one_message_and_one_end() -> None:
    province = forty()
    province.set("short", viettel(province))
    news = province.go(60)
    assert said(news) == [("opened", "isp", "Viettel", 10)]
    assert news[0].alert.access == "mobile"
    province.set("meeting", viettel(province))
    assert said(province.go(60)) == [("ended", "isp", "Viettel", 10)]


def test_a_district_without_power_is_one_message() -> None:
    province = forty()
    gone = [name for name, r in province.rows.items() if "Ý Yên" in r.area]
    province.set("silent", gone)
    for number, name in enumerate(gone):  # the last results lie up to five minutes apart
        province.silent_since[name] = START - number % 6 * MINUTE
    news = province.go(90)
    assert said(news) == [("opened", "area", "Nam Định/Ý Yên", 20)]
    province.set("meeting", gone)
    assert said(province.go(60)) == [("ended", "area", "Nam Định/Ý Yên", 20)]


def test_lines_that_fall_one_by_one_are_held_while_most_lean_the_same_way() -> None:
    province = forty()
    names = viettel(province)
    province.leaning.update(names)
    province.set("uncertain", names)
    for name in names:
        province.set("short", [name])
        province.leaning.discard(name)
        province.go(9)
    assert said(province.told) == [("opened", "isp", "Viettel", 5)]
    assert len(province.state.alerts[0].lines) == 10


def test_neighbours_that_only_lean_hold_a_line_for_an_hour_at_most() -> None:
    province = forty()
    names = viettel(province)
    province.leaning.update(names[1:])
    province.set("uncertain", names[1:])
    province.set("short", names[:1])
    assert province.go(58) == []
    assert said(province.go(5)) == [("opened", "line", names[0], 1)]


def test_a_group_takes_in_what_was_told_before_it() -> None:
    province = forty()
    names = viettel(province)
    province.set("short", names[:3])
    assert len(province.go(30)) == 3
    province.set("short", names[3:])
    news = province.go(30)
    assert said(news) == [("opened", "isp", "Viettel", 10)]
    assert news[0].alert.alerted_before == 3
    province.set("meeting", names)
    assert said(province.go(60)) == [("ended", "isp", "Viettel", 10)]


def test_the_last_of_a_group_becomes_an_alert_of_its_own() -> None:
    province = forty()
    names = viettel(province)
    province.set("short", names)
    province.go(30)
    province.set("meeting", names[1:])
    ended = province.go(30)
    assert said(ended) == [("ended", "isp", "Viettel", 10)]
    assert [f"{one.agent}/{one.line}" for one in ended[0].remaining] == names[:1]
    province.set("meeting", names[:1])
    assert said(province.go(30)) == [("ended", "line", names[0], 1)]


def test_a_few_lines_of_many_are_told_one_by_one() -> None:
    province = forty()
    province.set("short", [name for name in province.rows if name.endswith("ftth")][:6])
    assert [one.alert.kind for one in province.go(30)] == ["line"] * 6


def test_what_joined_a_units_alert_and_outlasts_it_is_told_as_its_rest(few: Province) -> None:
    few.maintained.add("a/4g")
    few.set("silent", ["a/ftth"])
    few.go(33)
    few.maintained.clear()
    few.set("silent", ["a/4g"])
    few.go(32)
    assert said(few.told) == [("opened", "unit", "a", 1)]
    few.set("meeting", ["a/ftth"])
    (ended,) = few.go(12)
    assert [one.line for one in ended.remaining] == ["4g"]
    few.set("silent", ["a/ftth"])
    (again,) = few.go(40)
    assert (again.alert.kind, len(again.alert.lines), again.alert.alerted_before) == ("unit", 2, 1)


@pytest.mark.parametrize("state", ["meeting", "uncertain", "silent", "no_data", "not_assessable"])
@pytest.mark.parametrize("tested", [False, True])
def test_a_line_says_whether_its_provider_fell_if_it_was_tested_since_and_can_be_judged(
    state: State, tested: bool
) -> None:
    province = forty()
    first, *others = viettel(province)
    province.set(state, others)
    seen = [replace(s, samples=(Sample(START + tested * MINUTE, 42.0),)) for s in province.seen()]
    causes = common_causes(seen, {LineId(*first.split("/")): START}, (), BY_STATE["short"])
    observable = next(cause.observable for cause in causes if cause.place.kind == "isp")
    assert observable == (10 if tested and state in ("meeting", "uncertain") else 1)


@pytest.mark.parametrize("state", ["meeting", "uncertain", "short", "no_data", "not_assessable"])
def test_a_line_says_whether_its_area_is_silent_if_it_was_ever_heard(state: State) -> None:
    province = forty()
    first, *others = viettel(province)
    province.set(state, others)
    causes = common_causes(province.seen(), {LineId(*first.split("/")): START}, (), BY_STATE["silent"])
    observable = next(cause.observable for cause in causes if cause.place.kind == "isp")
    assert observable == (1 if state == "no_data" else 10)


@pytest.mark.parametrize(
    ("condition", "kind", "name"),
    [
        ("short", "isp", "FPT"),
        ("silent", "area", "Nam Định/Ý Yên/Yên Thọ"),
        ("no_data", "area", "Nam Định/Ý Yên/Yên Thọ"),
    ],
)
def test_of_a_provider_and_an_area_that_fit_equally_the_likelier_comes_first(
    condition: State, kind: str, name: str
) -> None:
    fallen = [row(f"a{number}/ftth", "FPT", "Nam Định/Ý Yên/Yên Thọ") for number in range(5)]
    province = Province([*fallen, *(row(f"b{number}/ftth") for number in range(5))])
    causes = common_causes(province.seen(), {LineId.of(one): START for one in fallen}, (), BY_STATE[condition])
    assert (causes[0].place.kind, causes[0].place.name) == (kind, name)


def test_of_causes_that_fit_equally_the_same_comes_first_every_time() -> None:
    isps = ["FPT", "MobiFone", "SCTV", "VNPT", "Viettel", "VinaPhone"]
    province = Province([row(f"{isp.lower()}{n}/ftth", isp, f"Nam Định/{isp}{n}") for isp in isps for n in range(5)])
    seen = [*province.seen(), *(replace(s, row=row(f"well{n}/ftth", "other")) for n, s in enumerate(province.seen()))]
    fallen = {s.id: START for s in province.seen()}
    found = common_causes(seen, fallen, (), BY_STATE["short"])
    assert [cause.place.name for cause in found if cause.place.kind == "isp"] == isps


# --- whatever happens

NAMES = [f"u{number}/{line}" for number in range(8) for line in ("ftth", "4g")]
STEP = st.tuples(
    st.sets(st.sampled_from(NAMES), max_size=16),
    st.sampled_from(["short", "silent", "meeting", "uncertain", "not_assessable"]),
    st.integers(0, 45),
    st.sets(st.sampled_from(NAMES), max_size=3),
    st.sets(st.sampled_from(NAMES), max_size=6),
)


@given(st.lists(STEP, max_size=14))
@settings(max_examples=40)
def test_a_trouble_is_in_one_alert_at_most_and_is_told_again_only_after_its_end(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    province = Province([row(name, "Viettel" if name.endswith("4g") else "VNPT") for name in NAMES])
    open_: set[tuple[LineId, str]] = set()
    for names, state, minutes, maintained, leaning in steps:
        province.set(state, names)
        province.maintained, province.leaning = maintained, leaning
        for _ in range(minutes // 5 + 1):
            before = {one.id: one for one in province.state.alerts}
            news = province.go(0)
            province.now += 4 * MINUTE
            for one in news:
                keys = {(line.id, one.alert.trouble) for line in one.alert.lines}
                assert len(keys) == len(one.alert.lines), "a line twice in one alert"
                if one.event == "opened":
                    again = keys & open_
                    units = {a.place for a in before.values() if (a.kind, a.trouble) == ("unit", one.alert.trouble)}
                    joining = {key for key in keys - open_ if key[0].agent in units}  # its unit's alert, then this one
                    assert len(again) <= one.alert.alerted_before <= len(again | joining), (
                        "told again without an end between"
                    )
                    assert one.alert.kind != "line" or not again
                    open_ |= keys
                else:
                    assert one.alert.id in before, "an end without a beginning"
                    still = {(line.id, one.alert.trouble) for line in one.remaining}
                    open_ = open_ - keys | still
            held = [(line.id, alert.trouble) for alert in province.state.alerts for line in alert.lines]
            assert len(held) == len(set(held)), "a line in two alerts"
            assert open_ <= set(held), "an alert that vanished without an end"
            of_many = {(o.id, a.trouble) for a in province.state.alerts if a.kind != "line" for o in a.lines}
            assert set(held) - open_ <= of_many, "an alert that was not told"
            open_ = set(held)  # what joined a cause that was told is told
            waiting = {(one.id, one.trouble) for one in province.state.pending}
            assert not waiting & set(held), "told and waiting at once"
    province.maintained, province.leaning = set(), set()
    province.set("meeting", NAMES)
    for _ in range(50):
        province.go(0)
        province.now += 29 * MINUTE
    assert province.state.alerts == ()
    assert province.state.pending == ()
