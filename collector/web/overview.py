"""What `/` shows, worked out of a snapshot: sentence, chips, rows, map. Pure; nothing here reads the store."""

import datetime as dt
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from collector.alerts.conditions import CONDITIONS
from collector.judge.line_states import LineStatus, Snapshot
from collector.texts.texts import Texts
from collector.texts.words import ExclusionCounts, access_word, count_exclusions, excluded_of_lines, exclusions_phrase
from collector.web import chart_map, charts
from collector.web.line_filter import Filter, normalized_levels
from xomnet.access import ACCESSES
from xomnet.states import LOOKS, STATES, State

MAX_ROWS = 500
"""More rows wait behind a link: a page of thousands helps nobody who has to act."""

SHORTEST_SPARK = dt.timedelta(minutes=2)

COUNT_TEXTS: Mapping[State, str] = {
    "uncertain": "{n} uncertain",
    "not_assessable": "{n} not assessable",
    **{one.state: one.texts.count for one in CONDITIONS},
}
"""How many lines do not meet the target, by state: of a state that people are alerted of, in the alerts' words."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A link that narrows or widens what is shown. `state` gives it that state's look."""

    label: str
    count: int
    href: str
    pressed: bool
    state: State | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class AccessShare:
    """How many lines of one access type meet their target."""

    word: str
    meeting: int
    total: int
    target: str


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One line of the table; every figure already written in the reader's language."""

    href: str
    state: State
    mark: str
    word: str
    hamlet: str
    area: str
    net: str
    name: str
    target: str
    median: str | None
    samples: str
    failed: str | None
    excluded: str | None
    """How many tests do not count because of an exclusion; `excluded_why` is for the pointer."""
    excluded_why: str | None
    bar: Markup
    spark: Markup
    age: str | None
    last_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    sentence: str
    excluded: str | None
    """How many tests of which lines do not count, and why; None where all do."""
    shares: list[AccessShare]
    states: list[Chip]
    accesses: list[Chip]
    isps: list[Chip]
    trail: list[Chip]
    """The chosen area, level by level; each link goes back to that level."""
    areas: list[Chip]
    """The next level below the chosen area."""
    rows: list[OverviewRow]
    hidden: int
    """Lines behind the link `all_href`."""
    all_href: str
    scope: int
    """Lines that the filters leave, the state's aside."""
    total: int
    filtered: bool
    narrowed: bool
    """True where another filter than the state is set."""
    never_heard: bool
    spark_span: str
    map: Markup | None


def overview(snapshot: Snapshot, filter_: Filter, t: Texts, now: dt.datetime, show_all: bool = False) -> Overview:
    """The page's content. `now` is for the ages."""
    scope = [s for s in snapshot.lines if filter_.matches(s, ignoring="state")]
    shown = [s for s in scope if filter_.matches(s)]
    since = _spark_since(snapshot)
    rows = shown if show_all else shown[:MAX_ROWS]
    return Overview(
        sentence=_sentence(scope, t),
        excluded=excluded_of_lines([[s.excluded for s in one.samples] for one in scope], t),
        shares=_shares(scope, t),
        states=_state_chips(scope, filter_, t),
        accesses=_access_chips(snapshot, filter_, t),
        isps=_isp_chips(snapshot, filter_),
        trail=_trail(filter_, t),
        areas=_area_chips(snapshot, filter_),
        rows=[_row(status, t, since, snapshot.at, now) for status in rows],
        hidden=len(shown) - len(rows),
        all_href=filter_.href() + ("?" if filter_ == Filter() else "&") + "all=1",
        scope=len(scope),
        total=len(snapshot.lines),
        filtered=filter_ != Filter(),
        narrowed=replace(filter_, state=()) != Filter(),
        never_heard=bool(snapshot.lines) and all(s.judgement.state == "no_data" for s in snapshot.lines),
        spark_span=t.span((snapshot.at - since).total_seconds()),
        map=_map(shown, t),
    )


def _sentence(scope: Sequence[LineStatus], t: Texts) -> str:
    counts = Counter(s.judgement.state for s in scope)
    total = t.number(len(scope), 0)
    parts = [t.plural("{n} of {total} line meets the target", "{n} of {total} lines meet the target",
                      counts["meeting"], total=total)]  # fmt: skip
    others = [t.text(COUNT_TEXTS[s], n=t.number(counts[s], 0)) for s in STATES if s != "meeting" and counts[s]]
    return "; ".join([*parts, ", ".join(others)] if others else parts)


def _shares(scope: Sequence[LineStatus], t: Texts) -> list[AccessShare]:
    shares = []
    for access in ACCESSES:
        lines = [s.judgement for s in scope if s.row.access == access]
        if lines:
            meeting = sum(judged.state == "meeting" for judged in lines)
            ends = sorted({judged.target_mbps for judged in lines})
            target = "–".join(t.target(end) for end in (ends if len(ends) < 3 else [ends[0], ends[-1]]))
            shares.append(AccessShare(access_word(t, access), meeting, len(lines), target))
    return shares


def _state_chips(scope: Sequence[LineStatus], filter_: Filter, t: Texts) -> list[Chip]:
    counts = Counter(s.judgement.state for s in scope)
    return [
        Chip(t.state(s), counts[s], filter_.toggle("state", s).href(), s in filter_.state, s, LOOKS[s].mark)
        for s in STATES
        if counts[s] or s in filter_.state
    ]


def _access_chips(snapshot: Snapshot, filter_: Filter, t: Texts) -> list[Chip]:
    counts = Counter(s.row.access for s in snapshot.lines if filter_.matches(s, ignoring="access"))
    return [
        Chip(access_word(t, access), counts[access], filter_.toggle("access", access).href(), access in filter_.access)
        for access in ACCESSES
        if counts[access] or access in filter_.access
    ]


def _isp_chips(snapshot: Snapshot, filter_: Filter) -> list[Chip]:
    counts = Counter(
        unicodedata.normalize("NFC", s.row.isp) for s in snapshot.lines if filter_.matches(s, ignoring="isp")
    )
    return [
        Chip(isp, counts[isp], filter_.toggle("isp", isp).href(), isp in filter_.isp)
        for isp in sorted({*counts, *filter_.isp})
    ]


def _trail(filter_: Filter, t: Texts) -> list[Chip]:
    if not filter_.area:
        return []
    steps = [Chip(t.text("all areas"), 0, replace(filter_, area=()).href(), False)]
    for depth in range(1, len(filter_.area) + 1):
        area = filter_.area[:depth]
        steps.append(Chip(area[-1], 0, replace(filter_, area=area).href(), depth == len(filter_.area)))
    return steps


def _area_chips(snapshot: Snapshot, filter_: Filter) -> list[Chip]:
    """The next level below the chosen area; levels that all lines share are stepped over."""
    areas = [normalized_levels(s.row.area) for s in snapshot.lines if filter_.matches(s)]
    start = filter_.area
    while True:
        counts = Counter(area[: len(start) + 1] for area in areas if len(area) > len(start))
        if len(counts) != 1:
            break
        start = next(iter(counts))
    return [Chip(area[-1], n, replace(filter_, area=area).href(), False) for area, n in sorted(counts.items())]


def _spark_since(snapshot: Snapshot) -> dt.datetime:
    """The left end of every sparkline: a day before, or the first test where all began later."""
    day = snapshot.at - dt.timedelta(hours=24)
    first = min((s.samples[0].at for s in snapshot.lines if s.samples), default=day)
    return max(day, min(first, snapshot.at - SHORTEST_SPARK))


def bar_label(status: LineStatus, t: Texts) -> str:
    """A bar in words, with how many tests it leaves out."""
    judged, target = status.judgement, t.target(status.judgement.target_mbps)
    if judged.median_mbps is None or judged.ratio is None:
        figures = t.text("no median; target {target} Mb/s", target=target)
    else:
        figures = t.text(
            "median {median} Mb/s, {ratio} of the target ({target} Mb/s)",
            median=t.mbps(judged.median_mbps, judged.target_mbps),
            target=target,
            ratio=t.percent(judged.ratio),
        )
    left_out = _not_counted(count_exclusions(s.excluded for s in status.samples), t)
    return figures if left_out is None else f"{figures}; {t.text('tests')}: {left_out}"


def _not_counted(counts: ExclusionCounts, t: Texts) -> str | None:
    return t.plural("{n} not counted", "{n} not counted", sum(n for _, n in counts)) if counts else None


def _row(status: LineStatus, t: Texts, since: dt.datetime, at: dt.datetime, now: dt.datetime) -> OverviewRow:
    row, judged, area = status.row, status.judgement, normalized_levels(status.row.area)
    failed = sum(s.error is not None and s.excluded is None for s in status.samples)
    excluded = count_exclusions(s.excluded for s in status.samples)
    median = None if judged.median_mbps is None else t.mbps(judged.median_mbps, judged.target_mbps)
    last = judged.last_result_at
    spark_label = t.text("tests of the last {span}", span=t.span((at - since).total_seconds()))
    return OverviewRow(
        href=f"/lines/{row.agent}/{row.line}",
        state=judged.state,
        mark=LOOKS[judged.state].mark,
        word=t.state(judged.state),
        hamlet=row.hamlet,
        area=", ".join(reversed(area[1:] or area)),
        net=f"{access_word(t, row.access)} · {row.isp}",
        name=f"{row.agent} / {row.line}",
        target=t.target(judged.target_mbps),
        median=median,
        samples=t.number(judged.samples, 0),
        failed=t.plural("{n} failed", "{n} failed", failed) if failed else None,
        excluded=_not_counted(excluded, t),
        excluded_why=exclusions_phrase(excluded, t) if excluded else None,
        bar=charts.bar(judged, bar_label(status, t)),
        spark=charts.sparkline(status.samples, judged.target_mbps, since, at, judged.state, spark_label),
        age=None if last is None else t.span(max(0.0, (now - last).total_seconds())),
        last_at=last,
    )


def _map(shown: Sequence[LineStatus], t: Texts) -> Markup | None:
    places = [
        chart_map.MapPlace(
            lat=s.row.lat,
            lon=s.row.lon,
            state=s.judgement.state,
            href=f"/lines/{s.row.agent}/{s.row.line}",
            label=f"{LOOKS[s.judgement.state].mark} {t.state(s.judgement.state)} · {s.row.hamlet} · "
            f"{access_word(t, s.row.access)} {s.row.isp} · {bar_label(s, t)}",
            zone=_zone(s.row.area),
        )
        for s in shown
        if s.row.lat is not None and s.row.lon is not None
    ]
    return chart_map.draw(places, t.text("Map of the lines"))


def _zone(path: str) -> str:
    """The area above the lowest: the map writes its name above its lines."""
    area = normalized_levels(path)
    return area[-2] if len(area) > 1 else path
