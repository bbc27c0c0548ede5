"""What is told now: each trouble once, those with a common cause together, then that it is over. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace

from collector.alerts.alert import Alert, AlertChange, AlertedLine, AlertRules, AlertState, Kind, PendingLine, Trouble
from collector.alerts.grouping import CommonCause, causes, leans
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId

DAY = dt.timedelta(days=1)
FOLLOW = dt.timedelta(minutes=10)
LONGEST_CALM = dt.timedelta(hours=12)
TROUBLES: tuple[Trouble, ...] = ("short", "silent")
STILL_SHARE = 10
"""An area's or provider's alert ends when at most a tenth of its lines is left."""

Seen = Mapping[LineId, LineStatus]


def evaluate(
    seen: Sequence[LineStatus], book: AlertState, maintained: Collection[LineId], rules: AlertRules, now: dt.datetime
) -> tuple[list[AlertChange], AlertState]:
    """What is to be told of the lines as they are now, and the book from then on; nothing opens of `maintained`."""
    lines = {s.id: s for s in seen}
    opened = {key: kept for key, at in book.opened.items() if (kept := tuple(a for a in at if now - a < DAY))}
    desk = Evaluation(lines, {k: s for k, s in lines.items() if k not in maintained}, opened, rules, now, book.next_id)
    alerts = desk.followed(book.alerts)
    waiting = desk.waiting(book.waiting, alerts)
    for trouble in TROUBLES:
        alerts, rest = desk.joined(alerts, [one for one in waiting if one.trouble == trouble])
        alerts, rest = desk.grouped(alerts, rest, trouble)
        alerts, rest = desk.single(alerts, rest, trouble)
        waiting = [one for one in waiting if one.trouble != trouble] + rest
    return desk.news, AlertState(desk.next_id, tuple(alerts), tuple(waiting), desk.opened)


def trouble_of(status: LineStatus, rules: AlertRules, now: dt.datetime) -> tuple[Trouble, dt.datetime] | None:
    """A line's trouble and since when. One that was never heard has none: it is not mounted yet."""
    judged = status.judgement
    if judged.state == "short":
        return "short", judged.since or now
    last = judged.last_result_at
    if judged.state == "silent" and last is not None and now - last >= rules.silent_after:
        return "silent", last
    return None


class Evaluation:
    """One decision: what it looks at, and what it has come to so far."""

    def __init__(
        self, lines: Seen, free: Seen, opened: dict[str, tuple[dt.datetime, ...]], rules: AlertRules, now: dt.datetime,
        next_id: int,
    ) -> None:  # fmt: skip
        self._lines, self._free, self._rules, self._now = lines, free, rules, now
        self.opened, self.next_id = opened, next_id
        self.news: list[AlertChange] = []
        self._units: dict[str, list[LineStatus]] = {}
        for line, status in free.items():
            self._units.setdefault(line.agent, []).append(status)

    def followed(self, alerts: Iterable[Alert]) -> list[Alert]:
        """The alerts that go on; those that are over are told."""
        going: list[Alert] = []
        for was in alerts:
            alert = was.with_lines(tuple(self._as_now(one, was.trouble) for one in was.lines))
            still = tuple(one for one in alert.lines if not self._over(one, was.trouble))
            if len(still) > _may_be_left(alert):
                going.append(alert)
                continue
            self.news.append(AlertChange("ended", alert, self._now, still))
            for one in still:
                going.append(self._alert(was.trouble, "line", f"{one.agent}/{one.line}", (one,), at=was.opened_at))
        return going

    def _as_now(self, one: AlertedLine, trouble: Trouble) -> AlertedLine:
        status = self._lines.get(one.id)
        if status is None:
            return replace(one, end="unregistered")
        state = status.judgement.state
        if state == trouble:
            return replace(one, good_since=None, end=None)
        if trouble == "short" and state == "not_assessable":
            return replace(one, end="not_assessable")
        if trouble == "short" and state != "meeting":
            return one  # silent or uncertain: nobody knows
        return replace(one, good_since=one.good_since or self._now, end=None)

    def _over(self, one: AlertedLine, trouble: Trouble) -> bool:
        if one.end is not None:
            return True
        state = self._lines[one.id].judgement.state
        well = state == "meeting" if trouble == "short" else state != "silent"
        return well and one.good_since is not None and self._now - one.good_since >= self._calm(one.id, trouble)

    def _calm(self, line: LineId, trouble: Trouble) -> dt.timedelta:
        """Doubled with each alert of a day, so that a line that comes and goes is not told each time."""
        times = len(self.opened.get(_key(line, trouble), ()))
        return min(LONGEST_CALM, self._rules.calm * 2 ** max(0, times - 1)) if times < 16 else LONGEST_CALM

    def waiting(self, before: Iterable[PendingLine], alerts: Iterable[Alert]) -> list[PendingLine]:
        """Every trouble that no alert covers."""
        known = {(one.id, one.trouble): one for one in before}
        covered = {(one.id, alert.trouble) for alert in alerts for one in alert.lines}
        found = []
        for line, status in self._free.items():
            trouble = trouble_of(status, self._rules, self._now)
            if trouble is not None and (line, trouble[0]) not in covered:
                new = PendingLine(*line, *trouble, self._now)
                found.append(known.get((line, trouble[0]), new))
        return found

    def joined(self, alerts: list[Alert], waiting: list[PendingLine]) -> tuple[list[Alert], list[PendingLine]]:
        """Troubles of a cause that was told lately go with it, without a word."""
        rest = []
        for one in waiting:
            row = self._lines[one.id].row
            for number, alert in enumerate(alerts):
                late = one.seen_at - alert.opened_at > self._rules.within(one.trouble)
                if alert.kind != "line" and alert.trouble == one.trouble and alert.holds(row) and not late:
                    alerts[number] = alert.with_lines((*alert.lines, one.covered))
                    break
            else:
                rest.append(one)
        return alerts, rest

    def grouped(
        self, alerts: list[Alert], waiting: list[PendingLine], trouble: Trouble
    ) -> tuple[list[Alert], list[PendingLine]]:
        """An alert for each common cause; what is left, without those that may still turn out to have one."""
        while True:
            fallen, old = self._fresh(alerts, waiting, trouble)
            found = causes(self._free.values(), {line: one.since for line, one in fallen.items()}, old, trouble)
            cause = next((c for c in found if c.proven(self._rules)), None)  # the best one, and no other before it
            if cause is None or not self._due(cause, waiting, trouble):
                return alerts, waiting
            covered = tuple(fallen[line] for line in sorted(cause.fallen))
            alerts = self._open(alerts, covered, trouble, cause.place.kind, cause.place.name, cause)
            waiting = [one for one in waiting if one.id not in cause.fallen]

    def _due(self, cause: CommonCause, waiting: Iterable[PendingLine], trouble: Trouble) -> bool:
        """True where a cause has waited long enough. Lines that fell silent together are past their time within the
        pace of the latency probes of each other: those are waited for.
        """
        follow = trouble == "silent" and cause.suspects
        hold = max(self._rules.hold, FOLLOW) if follow else self._rules.hold
        return any(one.id in cause.fallen and self._now - one.seen_at >= hold for one in waiting)

    def _fresh(
        self, alerts: Iterable[Alert], waiting: Iterable[PendingLine], trouble: Trouble
    ) -> tuple[dict[LineId, AlertedLine], set[LineId]]:
        """The lines that came into a trouble lately, and those that have had it for long or have another cause."""
        fallen = {one.id: one.covered for one in waiting}
        old: set[LineId] = set()
        for alert in alerts:
            for one in alert.lines if alert.trouble == trouble else ():
                lately = self._now - one.seen_at <= self._rules.within(trouble)
                if alert.kind in ("line", "unit") and lately and one.good_since is None and one.id in self._free:
                    fallen[one.id] = one
                else:
                    old.add(one.id)
        return fallen, old

    def single(
        self, alerts: list[Alert], waiting: list[PendingLine], trouble: Trouble
    ) -> tuple[list[Alert], list[PendingLine]]:
        """Alerts of units and of lines, for what has waited long enough."""
        suspected = self._suspected(alerts, waiting, trouble)
        rest: list[PendingLine] = []
        for agent, group in groupby(sorted(waiting, key=lambda one: one.id), key=lambda one: one.agent):
            unit = list(group)
            ready: list[PendingLine] = []
            for one in unit:
                waited = self._now - one.seen_at
                wait = self._rules.suspect if one.id in suspected or self._unit_follows(agent, trouble) else None
                (ready if waited >= max(self._rules.hold, wait or self._rules.hold) else rest).append(one)
            if not ready:
                continue
            whole = self._whole_unit(alerts, agent, unit) if trouble == "silent" else ()
            if whole:
                rest = [one for one in rest if one.agent != agent]
                alerts = self._open(alerts, whole, trouble, "unit", agent)
                continue
            for one in ready:
                alerts = self._open(alerts, (one.covered,), trouble, "line", f"{one.agent}/{one.line}")
        return alerts, rest

    def _suspected(self, alerts: list[Alert], waiting: list[PendingLine], trouble: Trouble) -> set[LineId]:
        """Lines of places where most lean the same way: whether it is one cause will be known soon."""
        if not waiting:
            return set()
        fallen, old = self._fresh(alerts, waiting, trouble)
        found = causes(self._free.values(), {line: one.since for line, one in fallen.items()}, old, trouble)
        return {line for cause in found if cause.likely(self._rules) and cause.suspects for line in cause.fallen}

    def _unit_follows(self, agent: str, trouble: Trouble) -> bool:
        """True where another line of the unit is about to be silent as well."""
        return trouble == "silent" and any(
            leans(s, trouble) and trouble_of(s, self._rules, self._now) is None for s in self._units[agent]
        )

    def _whole_unit(self, alerts: list[Alert], agent: str, waiting: list[PendingLine]) -> tuple[AlertedLine, ...]:
        """The lines of a unit whose every line is silent, those with an alert of their own among them; else none."""
        told = {
            one.id: one
            for alert in alerts
            for one in alert.lines
            if alert.trouble == "silent" and alert.kind == "line" and one.agent == agent and one.good_since is None
        }
        silent = {**told, **{one.id: one.covered for one in waiting}}
        heard = {LineId(agent, s.row.line) for s in self._units[agent] if s.judgement.last_result_at is not None}
        return tuple(silent[line] for line in sorted(silent)) if heard <= silent.keys() else ()

    def _open(
        self, alerts: list[Alert], covered: tuple[AlertedLine, ...], trouble: Trouble, kind: Kind, place: str,
        cause: CommonCause | None = None,
    ) -> list[Alert]:  # fmt: skip
        """Tells of lines, and takes those with an alert of their own out of it."""
        taken = {one.id for one in covered}
        told = {o.id for a in alerts if a.trouble == trouble for o in a.lines} & taken
        kept = [
            a if a.trouble != trouble else a.with_lines(tuple(o for o in a.lines if o.id not in taken)) for a in alerts
        ]
        for line in taken - told:
            key = _key(line, trouble)
            self.opened = {**self.opened, key: (*self.opened.get(key, ()), self._now)}
        alert = self._alert(trouble, kind, place, covered, len(told), cause)
        self.news.append(AlertChange("opened", alert, self._now))
        return [*(a for a in kept if a.lines), alert]

    def _alert(
        self, trouble: Trouble, kind: Kind, place: str, covered: tuple[AlertedLine, ...], told: int = 0,
        cause: CommonCause | None = None, at: dt.datetime | None = None,
    ) -> Alert:  # fmt: skip
        alert = Alert(
            self.next_id, trouble, kind, place, at or self._now, covered, cause.place.access if cause else None, told
        )
        self.next_id += 1
        return alert


def _may_be_left(alert: Alert) -> int:
    """How many lines may still be in trouble when an alert ends: a unit that speaks is there."""
    if alert.kind == "unit":
        return len(alert.lines) - 1
    return 0 if alert.kind == "line" else len(alert.lines) // STILL_SHARE


def _key(line: LineId, trouble: Trouble) -> str:
    return f"{line.agent}/{line.line}/{trouble}"
