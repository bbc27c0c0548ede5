"""What `/lines/{agent}/{line}` shows, worked out of a line's stored results. Pure."""

import datetime as dt
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from urllib.parse import urlencode

from markupsafe import Markup

from collector.completeness.completeness import DAYS
from collector.judge.assess import (
    EXCLUDED_FLAGS,
    MAX_TESTS,
    MIN_TESTS,
    Judgement,
    JudgingRules,
    counted_mbps,
    early_bias,
)
from collector.judge.confidence_interval import ends_of_interval
from collector.judge.line_states import LineStatus
from collector.store.points import received_at
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, Sample, SpeedRow
from collector.texts.texts import Texts, round_decimal
from collector.texts.words import access_word, count_exclusions, excluded_sentence, exclusion_word, remarks
from collector.web import chart_history as draw
from collector.web.axis import HOURS, Axis
from collector.web.figures import (
    ResultFigures,
    cells,
    columns,
    figures_of_event,
    figures_of_latency,
    figures_of_outage,
    figures_of_test,
    figures_of_unit,
    received_after,
)
from collector.web.line_filter import Filter, normalized_levels
from xomnet.plan import PEAK_HOURS
from xomnet.states import LOOKS, State

MAX_ROWS = 40
"""Of the table of recent tests."""
TREND_STEPS = 60


@dataclass(frozen=True, slots=True)
class LineHistory:
    """What was read: `samples` begin one window before the axis, so that the first median has its tests. Of a line that
    measures without a pause each list holds only the latest.
    """

    samples: list[Sample]
    speed: list[SpeedRow]
    latency: list[LatencyRow]
    outages: list[OutageRow]
    test: SpeedRow | None = None
    """The test whose figures are shown, with its raw material."""
    probe: LatencyRow | None = None
    """The last measurement of latency, with its raw material."""
    health: HealthRow | None = None
    events: list[EventRow] = field(default_factory=list)
    """Of the unit and of this line, the newest first."""


@dataclass(frozen=True, slots=True)
class TestRow:
    """One row of the table of recent tests."""

    at: dt.datetime
    when: str
    href: str
    validity: draw.Validity
    cells: list[str | None]
    remarks: list[str]


@dataclass(frozen=True, slots=True)
class RangeChip:
    label: str
    href: str
    pressed: bool


@dataclass(frozen=True, slots=True)
class LinePage:
    state: State
    mark: str
    word: str
    title: str
    area_links: list[tuple[str, str]]
    why: str
    facts: list[tuple[str, str]]
    ranges: list[RangeChip]
    span: str
    downloads: Markup
    latency: Markup
    loss: Markup
    outages: Markup
    tested: int
    cut: str | None
    """Says so where not all tests of the time range were read."""
    window_excluded: str | None
    """How many tests of the window do not count for the state, and why; None where all do."""
    excluded: str | None
    """The same of the time range, with when they were received."""
    echoes: str
    """How many measurements latency and loss rest on, or that there are none: an empty chart is not "no loss"."""
    empty: bool
    outage_sentence: str
    median_sentence: str | None
    columns: list[tuple[str, str, str]]
    tests: list[TestRow]
    results: list[ResultFigures]
    events: list[tuple[str, str]]
    csv_speed: str
    csv_latency: str
    csv_outages: str
    csv_events: str
    peak_hours: tuple[int, int] = PEAK_HOURS


def line_page(
    status: LineStatus,
    history: LineHistory,
    axis: Axis,
    hours: int,
    rules: JudgingRules,
    t: Texts,
    now: dt.datetime,
    complete: float | None = None,
    chosen: bool = False,
) -> LinePage:
    """The page's content; `hours` is the range whose chip is pressed, `complete` the share that is stored. The
    figures of a test stand open where it was `chosen`.
    """
    row, judged, area = status.row, status.judgement, normalized_levels(status.row.area)
    shown = [s for s in history.samples if s.at >= axis.since]
    tests = [r for r in history.speed if r.at >= axis.since]
    target = judged.target_mbps
    dots = [_dot(s, axis, target, t) for s in draw.limit_dots(shown, validity_of)]
    trend = medians(history.samples, axis, rules)
    loaded = [(axis.share(r.at), r.rtt_loaded_ms) for r in tests if r.rtt_loaded_ms is not None and r.excluded is None]
    probes = [row for row in history.latency if row.excluded is None]
    span = t.span(axis.span_s)
    watched = bool(history.outages or history.latency)
    outage_sentence = _outages(history.outages, span, t) if watched else t.text("not measured in this time range")
    base = f"/api/v1/lines/{row.agent}/{row.line}"
    csv = urlencode({"from": _rfc3339(axis.since), "to": _rfc3339(axis.until), "format": "csv"})
    return LinePage(
        state=judged.state,
        mark=LOOKS[judged.state].mark,
        word=t.state(judged.state),
        title=row.hamlet,
        area_links=[(name, Filter(area=area[:depth]).href()) for depth, name in enumerate(area, start=1)],
        why=why(status, rules, t, now),
        facts=_facts(status, history.speed, complete, t, now),
        ranges=[
            RangeChip(t.text("{n} h", n=h) if h <= 24 else t.span(h * 3600), f"?hours={h}", h == hours) for h in HOURS
        ],
        span=span,
        downloads=draw.downloads(
            t, axis, dots, trend, target, _downloads_label(len(shown), judged.median_mbps, target, span, t)
        ),
        latency=draw.latency(t, axis, probes, loaded, t.text("Latency in ms over {span}", span=span)),
        loss=draw.loss(t, axis, probes, t.text("Lost packets in percent over {span}", span=span)),
        outages=draw.outages(t, axis, [row for row in history.outages if row.excluded is None], outage_sentence),
        tested=len(shown),
        cut=_cut_text(history.samples, axis, t),
        window_excluded=excluded_sentence(
            count_exclusions(s.excluded for s in status.samples), rules.window.total_seconds(), t
        ),
        excluded=_excluded(shown, axis, t),
        echoes=t.plural("{n} measurement", "{n} measurements", len(probes)) + _not_counted(history.latency, t)
        if history.latency
        else t.text("not measured in this time range"),
        empty=not shown and not history.latency,
        outage_sentence=outage_sentence,
        median_sentence=_median_sentence(status, rules, t),
        columns=columns(t),
        tests=[_test(r, hours, t) for r in reversed(tests[-MAX_ROWS:])],
        results=_results(row.agent, history, chosen, t),
        events=[(t.second(one.at), figures_of_event(one, t)) for one in history.events],
        csv_speed=f"{base}/speed?{csv}",
        csv_latency=f"{base}/latency?{csv}",
        csv_outages=f"{base}/outages?{csv}",
        csv_events=f"/api/v1/agents/{row.agent}/events?{csv}",
    )


def medians(samples: Sequence[Sample], axis: Axis, rules: JudgingRules) -> list[draw.Trend]:
    """The median of the trailing window at even steps, as judging saw it; none before the first test."""
    counted = [(sample.at, value) for sample in samples if (value := counted_mbps(sample)) is not None]
    instants, values = [at for at, _ in counted], [value for _, value in counted]
    by_value = sorted(range(len(values)), key=values.__getitem__)
    trend = []
    for step in range(TREND_STEPS + 1):
        at = axis.since + (axis.until - axis.since) * (step / TREND_STEPS)
        first, end = bisect_left(instants, at - rules.window), bisect_left(instants, at)
        if first == end:
            continue
        ordered = [values[place] for place in by_value if first <= place < end]
        low, high = ends_of_interval(ordered, rules.confidence) or (None, None)
        trend.append(draw.Trend(step / TREND_STEPS, median(ordered), low, high))
    return trend


def why(status: LineStatus, rules: JudgingRules, t: Texts, now: dt.datetime) -> str:
    """One sentence that says why the line is in its state."""
    judged = status.judgement
    target = t.target(judged.target_mbps)
    if judged.last_result_at is None:
        return t.text("No result of this line has arrived yet.")
    if judged.state == "silent":
        age = t.ago(max(0.0, (now - judged.last_result_at).total_seconds()))
        moment = t.moment(judged.last_result_at)
        if any(sample.excluded and sample.at > judged.last_result_at for sample in status.samples):
            return t.text("Nothing received since {moment} ({age}) is counted.", moment=moment, age=age)
        return t.text("Nothing received since {moment} ({age}).", moment=moment, age=age)
    if judged.state == "not_assessable":
        plan = status.row.plan_mbps
        if plan is not None and plan < judged.target_mbps:
            return t.text("The plan of {plan} Mb/s is below the target of {target} Mb/s.",
                          plan=t.target(plan), target=target)  # fmt: skip
        return t.text("The unit's port is slower than the target of {target} Mb/s.", target=target)
    if (figures := _figures_of_median(judged, rules, t)) is not None:
        return figures + _decision_text(status, t)
    if not status.samples:
        return t.text("No download test yet; latency results have arrived.")
    return t.text("No test counts yet: all failed, were flagged or excluded.")


def removal_text(t: Texts, at: dt.datetime) -> str:
    """The same of a line that is no longer in the registry."""
    return t.text(
        "Removed from the registry (seen {moment}): no longer judged. The results below were stored before.",
        moment=t.moment(at),
    )


def _decision_text(status: LineStatus, t: Texts) -> str:
    """How the sentence ends: what the tests say, since when, and what was before."""
    judged = status.judgement
    if judged.state == "uncertain":
        if judged.samples < MIN_TESTS:
            return t.text("; too few tests to decide.")
        sentence = t.text("; the tests do not decide.")
        return sentence + " " + t.text("Likely below target.") if judged.leaning else sentence
    short = judged.state == "short"
    sentence = t.text("; the tests are below the target.") if short else t.text("; the tests reach the target.")
    if judged.since is not None:
        sentence += " " + t.text("Since {moment}.", moment=t.moment(judged.since))
    if judged.before_mbps is not None:
        sentence += " " + t.text("Before: {before} Mb/s.", before=t.mbps(judged.before_mbps, judged.target_mbps))
    return sentence


def _median_sentence(status: LineStatus, rules: JudgingRules, t: Texts) -> str | None:
    """The figures, for a state whose `why` does not carry them."""
    carries_none = status.judgement.state in ("silent", "not_assessable")
    return _figures_of_median(status.judgement, rules, t) if carries_none else None


def _figures_of_median(judged: Judgement, rules: JudgingRules, t: Texts) -> str | None:
    """A sentence without its end, for what follows from the figures; None if there is no median."""
    if judged.median_mbps is None or judged.ratio is None:
        return None
    return t.text(
        "Median {median} Mb/s, {ratio} of the target ({target} Mb/s), from {tests} in {window}",
        median=t.mbps(judged.median_mbps, judged.target_mbps),
        target=t.target(judged.target_mbps),
        ratio=t.percent(judged.ratio),
        tests=t.plural("{n} test", "{n} tests", judged.samples),
        window=t.span(rules.window.total_seconds()),
    )


def _facts(
    status: LineStatus, speed: Sequence[SpeedRow], complete: float | None, t: Texts, now: dt.datetime
) -> list[tuple[str, str]]:
    row, judged = status.row, status.judgement
    last, audits = judged.last_result_at, early_bias([test for test in speed if test.excluded is None])
    facts = [
        (t.text("Access type"), f"{access_word(t, row.access)} · {row.isp}"),
        (t.text("Plan"), t.text("{n} Mb/s", n=t.target(row.plan_mbps)) if row.plan_mbps is not None else None),
        (t.text("Target"), t.text("{n} Mb/s", n=t.target(judged.target_mbps))),
        (t.text("Last test"), t.text("{n} Mb/s", n=t.mbps(judged.now_mbps)) if judged.now_mbps is not None else None),
        (t.text("Last result"), t.ago(max(0.0, (now - last).total_seconds())) if last is not None else None),
        (t.text("Early stop"), None if audits is None else _early_stop_text(*audits, t)),
        (t.text("Completeness"), None if complete is None else f"{t.share(complete)} ({t.span(DAYS * 86_400)})"),
        (t.text("Unit"), row.agent),
        (t.text("Line"), row.line + (f" ({row.interface})" if row.interface else "")),
        (t.text("Hamlet code"), row.hamlet_code),
        (t.text("In the registry from"), row.from_.strftime("%d/%m/%Y" if t.language == "vi" else "%Y-%m-%d")),
    ]
    return [(name, value) for name, value in facts if value is not None]


def _early_stop_text(number: int, off: float, t: Texts) -> str:
    sign = "+" if round_decimal(100 * off, 1) > 0 else ""
    audits = t.plural("{n} full-length test", "{n} full-length tests", number)
    return t.text("{off}% in {audits}", off=sign + t.number(100 * off), audits=audits)


def validity_of(test: Sample | SpeedRow) -> draw.Validity:
    """How a test is drawn: not counted because of an exclusion, failed, not counted because of a flag, or counted."""
    if test.excluded is not None:
        return "excluded"
    if test.error is not None or test.down_mbps is None:
        return "failed"
    return "flagged" if EXCLUDED_FLAGS.intersection(test.flags) else "counted"


def _exclusion_remark(test: Sample | SpeedRow, t: Texts) -> list[str]:
    """Why an exclusion takes a test out, and when a late one came."""
    if test.excluded is None:
        return []
    said = exclusion_word(test.excluded, t)
    if not test.late or test.received_ms is None:
        return [said]
    after = received_after(test.received_ms, test.at).total_seconds()
    return [f"{said} ({t.text('received {span} after it was measured', span=t.span(after))})"]


def _excluded(shown: Sequence[Sample], axis: Axis, t: Texts) -> str | None:
    excluded = [s for s in shown if s.excluded is not None]
    sentence = excluded_sentence(count_exclusions(s.excluded for s in excluded), axis.span_s, t)
    received = [received_at(s.received_ms) for s in excluded if s.received_ms is not None]
    if sentence is None or not received:
        return sentence
    from_, to = t.minute(min(received)), t.minute(max(received))
    return f"{sentence} {t.text('The server received them from {from_} to {to}.', from_=from_, to=to)}"


def _not_counted(rows: Sequence[LatencyRow | OutageRow], t: Texts) -> str:
    """How the number of some rows ends: how many more there are that do not count."""
    counts = count_exclusions(row.excluded for row in rows)
    return f", {t.plural('{n} more not counted', '{n} more not counted', sum(n for _, n in counts))}" if counts else ""


def _dot(test: Sample, axis: Axis, target: float, t: Texts) -> draw.Dot:
    parts = [t.second(test.at)]
    if test.down_mbps is not None:
        parts.append(f"{t.mbps(test.down_mbps, target)} Mb/s")
    parts += [*_exclusion_remark(test, t), *remarks(t, test.flags, test.error)]
    return draw.Dot(axis.share(test.at), test.down_mbps, validity_of(test), " · ".join(parts))


def _cut_text(samples: Sequence[Sample], axis: Axis, t: Texts) -> str | None:
    if len(samples) < MAX_TESTS or samples[0].at <= axis.since:
        return None
    return t.text("only the latest are shown, since {moment}", moment=t.moment(samples[0].at))


def _test(row: SpeedRow, hours: int, t: Texts) -> TestRow:
    return TestRow(
        at=row.at,
        when=t.second(row.at),
        href="?" + urlencode({"hours": hours, "test": row.at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")}),
        validity=validity_of(row),
        cells=cells(row, t),
        remarks=[*_exclusion_remark(row, t), *remarks(t, row.flags, row.error, row.error_detail)],
    )


def _results(agent: str, history: LineHistory, chosen: bool, t: Texts) -> list[ResultFigures]:
    """All figures of one result of each kind."""
    return [
        *([figures_of_test(history.test, chosen, t)] if history.test is not None else []),
        *([figures_of_latency(history.probe, t)] if history.probe is not None else []),
        *([figures_of_outage(history.outages[-1], t)] if history.outages else []),
        *([figures_of_unit(agent, history.health, t)] if history.health is not None else []),
    ]


def _outages(rows: Sequence[OutageRow], span: str, t: Texts) -> str:
    counted = [row for row in rows if row.excluded is None]
    if not counted:
        return t.text("No outage in {span}", span=span) + _not_counted(rows, t)
    total = t.span(sum(row.duration_s for row in counted))
    return t.plural("{n} outage in {span}, {total} in total", "{n} outages in {span}, {total} in total", len(counted),
                    span=span, total=total) + _not_counted(rows, t)  # fmt: skip


def _downloads_label(number: int, median: float | None, target: float, span: str, t: Texts) -> str:
    tests = t.plural("{n} test", "{n} tests", number)
    label = t.text("Download speed over {span}: {tests}, target {target} Mb/s", span=span, tests=tests,
                   target=t.target(target))  # fmt: skip
    return label if median is None else label + t.text(", median now {median} Mb/s", median=t.mbps(median, target))


def _rfc3339(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
