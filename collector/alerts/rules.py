"""Which alerts open and end now: each condition once, lines with a common cause together. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby

from msgspec.structs import replace

from collector.alerts.alert import Alert, AlertChange, AlertedLine, AlertRules, AlertState, Kind, PendingLine
from collector.alerts.conditions import BY_STATE, CONDITIONS, Condition
from collector.alerts.grouping import CommonCause, common_causes
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from xomnet.states import State

DAY = dt.timedelta(days=1)
MAX_KEEP_FIRING_FOR = dt.timedelta(hours=12)
REMAINING_SHARE = 10
"""An area's or provider's alert ends when at most a tenth of its lines is left."""

Statuses = Mapping[LineId, LineStatus]


def evaluate(
    statuses: Sequence[LineStatus],
    before: AlertState,
    maintained: Collection[LineId],
    rules: AlertRules,
    now: dt.datetime,
) -> tuple[list[AlertChange], AlertState]:
    """What is to be reported of the lines as they are now, and the state from then on. Nothing opens for lines that are
    `maintained`.
    """
    lines = {s.id: s for s in statuses}
    opening_times = {
        key: recent for key, at in before.opening_times.items() if (recent := tuple(a for a in at if now - a < DAY))
    }
    free = {line: status for line, status in lines.items() if line not in maintained}
    evaluation = Evaluation(lines, free, opening_times, rules, now, before.next_id)
    alerts = evaluation.update(before.alerts)
    pending = evaluation.find_pending(before.pending, alerts)
    for condition in CONDITIONS:
        alerts, rest = evaluation.join(alerts, [one for one in pending if one.trouble == condition.state], condition)
        alerts, rest = evaluation.open_common(alerts, rest, condition)
        alerts, rest = evaluation.open_single(alerts, rest, condition)
        pending = [one for one in pending if one.trouble != condition.state] + rest
    return evaluation.changes, AlertState(evaluation.next_id, tuple(alerts), tuple(pending), evaluation.opening_times)


class Evaluation:
    """The decisions of one minute: what they look at, and what they have come to so far."""

    def __init__(
        self,
        lines: Statuses,
        free: Statuses,
        opening_times: dict[str, tuple[dt.datetime, ...]],
        rules: AlertRules,
        now: dt.datetime,
        next_id: int,
    ) -> None:
        self._lines, self._free, self._rules, self._now = lines, free, rules, now
        self.opening_times, self.next_id = opening_times, next_id
        self.changes: list[AlertChange] = []
        self._units: dict[str, list[LineStatus]] = {}
        for line, status in free.items():
            self._units.setdefault(line.agent, []).append(status)

    def update(self, alerts: Iterable[Alert]) -> list[Alert]:
        """The alerts that go on, with their lines as they are now; the end of the others is reported."""
        going: list[Alert] = []
        for was in alerts:
            condition = BY_STATE[was.trouble]
            alert = was.with_lines(tuple(self._update_line(one, condition) for one in was.lines))
            remaining = tuple(one for one in alert.lines if not self._has_ended(one, condition))
            if len(remaining) > _max_remaining(alert):
                going.append(alert)
                continue
            self.changes.append(AlertChange("ended", alert, self._now, remaining))
            for one in remaining:
                going.append(self._make_alert(was.trouble, "line", f"{one.agent}/{one.line}", (one,), at=was.opened_at))
        return going

    def _update_line(self, one: AlertedLine, condition: Condition) -> AlertedLine:
        status = self._lines.get(one.id)
        if status is None:
            return replace(one, end="unregistered")
        state = status.judgement.state
        if state == condition.state:
            return replace(one, good_since=None, end=None)
        if state in condition.ends_as:
            return replace(one, end=condition.ends_as[state])
        if condition.is_over(status):
            return replace(one, good_since=one.good_since or self._now, end=None)
        return one

    def _has_ended(self, one: AlertedLine, condition: Condition) -> bool:
        if one.end is not None:
            return True
        if one.good_since is None or not condition.is_over(self._lines[one.id]):
            return False
        return self._now - one.good_since >= self._keep_firing_for(one.id, condition.state)

    def _keep_firing_for(self, line: LineId, trouble: State) -> dt.timedelta:
        """Doubled with each alert of a day, so that a line that comes and goes is not reported each time."""
        times = len(self.opening_times.get(_key(line, trouble), ()))
        if times >= 16:
            return MAX_KEEP_FIRING_FOR
        doubled: dt.timedelta = self._rules.keep_firing_for * 2 ** max(0, times - 1)
        return min(MAX_KEEP_FIRING_FOR, doubled)

    def find_pending(self, before: Iterable[PendingLine], alerts: Iterable[Alert]) -> list[PendingLine]:
        """Every line with a condition that no alert covers."""
        known = {(one.id, one.trouble): one for one in before}
        covered = {(one.id, alert.trouble) for alert in alerts for one in alert.lines}
        found = []
        for line, status in self._free.items():
            for condition in CONDITIONS:
                since = condition.opens(status, self._rules, self._now)
                key = line, condition.state
                if since is not None and key not in covered:
                    found.append(known.get(key, PendingLine(*line, condition.state, since, self._now)))
        return found

    def join(
        self, alerts: list[Alert], pending: list[PendingLine], condition: Condition
    ) -> tuple[list[Alert], list[PendingLine]]:
        """Lines with a cause that was reported lately are added to its alert, without a message."""
        rest = []
        for one in pending:
            row = self._lines[one.id].row
            for number, alert in enumerate(alerts):
                late = one.seen_at - alert.opened_at > condition.group_window(self._rules)
                if alert.kind != "line" and alert.trouble == condition.state and alert.covers(row) and not late:
                    alerts[number] = alert.with_lines((*alert.lines, one.to_alerted_line()))
                    break
            else:
                rest.append(one)
        return alerts, rest

    def open_common(
        self, alerts: list[Alert], pending: list[PendingLine], condition: Condition
    ) -> tuple[list[Alert], list[PendingLine]]:
        """Opens an alert for each common cause; what is left may still turn out to have one."""
        while True:
            affected, old = self._find_affected(alerts, pending, condition)
            found = self._find_causes(affected, old, condition)
            cause = next((c for c in found if c.is_proven(self._rules)), None)  # the best one, and no other before it
            if cause is None or not self._is_due(cause, pending, condition):
                return alerts, pending
            covered = tuple(affected[line] for line in sorted(cause.affected))
            alerts = self._open(alerts, covered, condition, cause.place.kind, cause.place.name, cause)
            pending = [one for one in pending if one.id not in cause.affected]

    def _find_causes(
        self, affected: Mapping[LineId, AlertedLine], old: Collection[LineId], condition: Condition
    ) -> list[CommonCause]:
        since = {line: one.since for line, one in affected.items()}
        return common_causes(self._free.values(), since, old, condition)

    def _is_due(self, cause: CommonCause, pending: Iterable[PendingLine], condition: Condition) -> bool:
        """True if a cause has waited long enough."""
        wait = self._rules.group_wait
        wait = max(wait, condition.straggler_wait) if cause.leaning else wait
        return any(one.id in cause.affected and self._now - one.seen_at >= wait for one in pending)

    def _find_affected(
        self, alerts: Iterable[Alert], pending: Iterable[PendingLine], condition: Condition
    ) -> tuple[dict[LineId, AlertedLine], set[LineId]]:
        """The lines that came into a condition lately, and those that have had it for long or have another cause."""
        affected = {one.id: one.to_alerted_line() for one in pending}
        old: set[LineId] = set()
        for alert in alerts:
            for one in alert.lines if alert.trouble == condition.state else ():
                lately = self._now - one.seen_at <= condition.group_window(self._rules)
                if alert.kind in ("line", "unit") and lately and one.good_since is None and one.id in self._free:
                    affected[one.id] = one
                else:
                    old.add(one.id)
        return affected, old

    def open_single(
        self, alerts: list[Alert], pending: list[PendingLine], condition: Condition
    ) -> tuple[list[Alert], list[PendingLine]]:
        """Opens alerts of units and of lines, for what has waited long enough."""
        suspected = self._find_suspects(alerts, pending, condition)
        rest: list[PendingLine] = []
        for agent, group in groupby(sorted(pending, key=lambda one: one.id), key=lambda one: one.agent):
            unit = list(group)
            ready: list[PendingLine] = []
            for one in unit:
                waited = self._now - one.seen_at
                held = one.id in suspected or self._unit_follows(agent, condition)
                wait = max(self._rules.group_wait, self._rules.max_group_wait) if held else self._rules.group_wait
                (ready if waited >= wait else rest).append(one)
            if not ready:
                continue
            whole = self._find_whole_unit(alerts, agent, unit, condition) if condition.by_unit else ()
            if whole:
                rest = [one for one in rest if one.agent != agent]
                alerts = self._open(alerts, whole, condition, "unit", agent)
                continue
            for one in ready:
                alerts = self._open(alerts, (one.to_alerted_line(),), condition, "line", f"{one.agent}/{one.line}")
        return alerts, rest

    def _find_suspects(self, alerts: list[Alert], pending: list[PendingLine], condition: Condition) -> set[LineId]:
        """Lines of places most of whose lines lean to the condition: whether it is one cause will be known soon."""
        if not pending:
            return set()
        found = self._find_causes(*self._find_affected(alerts, pending, condition), condition)
        return {line for cause in found if cause.is_likely(self._rules) and cause.leaning for line in cause.affected}

    def _unit_follows(self, agent: str, condition: Condition) -> bool:
        """True if another line of the unit is about to have the condition as well."""
        return condition.by_unit and any(
            condition.leans(s) and condition.opens(s, self._rules, self._now) is None for s in self._units[agent]
        )

    def _find_whole_unit(
        self, alerts: list[Alert], agent: str, pending: list[PendingLine], condition: Condition
    ) -> tuple[AlertedLine, ...]:
        """The lines of a unit if all of those that would show the condition have it, those with an alert of their own
        among them; else none.
        """
        alerted = {
            one.id: one
            for alert in alerts
            for one in alert.lines
            if alert.trouble == condition.state and alert.kind == "line" and one.agent == agent
            if one.good_since is None
        }
        affected = {**alerted, **{one.id: one.to_alerted_line() for one in pending}}
        began = min(one.since for one in affected.values())
        observable = {
            s.id for s in self._units[agent] if condition.would_show(s, began) or s.judgement.state == condition.state
        }
        return tuple(affected[line] for line in sorted(affected)) if observable <= affected.keys() else ()

    def _open(
        self,
        alerts: list[Alert],
        covered: tuple[AlertedLine, ...],
        condition: Condition,
        kind: Kind,
        place: str,
        cause: CommonCause | None = None,
    ) -> list[Alert]:
        """Opens an alert of some lines, and takes those that have one of their own out of that."""
        trouble = condition.state
        taken = {one.id for one in covered}
        alerted = {o.id for a in alerts if a.trouble == trouble for o in a.lines} & taken
        others = [
            a if a.trouble != trouble else a.with_lines(tuple(o for o in a.lines if o.id not in taken)) for a in alerts
        ]
        for line in sorted(taken - alerted):
            key = _key(line, trouble)
            self.opening_times = {**self.opening_times, key: (*self.opening_times.get(key, ()), self._now)}
        alert = self._make_alert(trouble, kind, place, covered, len(alerted), cause)
        self.changes.append(AlertChange("opened", alert, self._now))
        return [*(a for a in others if a.lines), alert]

    def _make_alert(
        self,
        trouble: State,
        kind: Kind,
        place: str,
        covered: tuple[AlertedLine, ...],
        alerted_before: int = 0,
        cause: CommonCause | None = None,
        at: dt.datetime | None = None,
    ) -> Alert:
        alert = Alert(
            self.next_id,
            trouble,
            kind,
            place,
            at or self._now,
            covered,
            cause.place.access if cause else None,
            alerted_before,
        )
        self.next_id += 1
        return alert


def _max_remaining(alert: Alert) -> int:
    """How many lines may still have the condition when an alert ends: a unit that speaks is there."""
    if alert.kind == "unit":
        return len(alert.lines) - 1
    return 0 if alert.kind == "line" else len(alert.lines) // REMAINING_SHARE


def _key(line: LineId, trouble: State) -> str:
    return f"{line.agent}/{line.line}/{trouble}"
