"""What came after a month was closed, and what its figures would be today."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from collector.report.closed import ClosedMonth, lasting
from collector.report.gather import bounds, clip_outages, gather_rows, month_rows
from collector.report.model import (
    Cause,
    ChangesSince,
    ExclusionSince,
    LineMonth,
    LineSince,
    RegistryChange,
    TargetChange,
)
from collector.store import Store
from collector.store.exclusions import Exclusion
from collector.store.line_id import LineId
from collector.store.points import when
from collector.store.row_types import OutageRow, Sample
from xomnet import __version__
from xomnet.access import ACCESSES
from xomnet.area import SEPARATOR, is_within
from xomnet.registry.registry import SMALLEST_STEP, LineRow, Registry
from xomnet.targets import Targets

CELLS = ("access", "hamlet_code", "hamlet", "area", "isp", "plan_mbps", "target_mbps")
"""What of a registry row a month goes by."""
JUDGED_BY = ("access", "plan_mbps", "target_mbps")
"""What of it the figures go by; the rest is names."""
WHOLE = ("line_added", "line_removed")
"""Said once, however many rows the line has."""


def changes_since(
    closed: ClosedMonth,
    store: Store,
    registry: Registry,
    targets: Targets,
    exclusions: Sequence[Exclusion],
    now: dt.datetime,
    area: str | None = None,
    kept_since: dt.datetime | None = None,
) -> ChangesSince:
    """Of the lines that stood in an area, or stand there now; of all for None. Raises StoreUnavailable."""
    since, until = bounds(registry, closed.month, now)
    rows = month_rows(registry, closed.month, now)
    shown = {LineId.of(row) for row in (*(line.row for line in closed.lines), *rows) if _within(row, area)}
    then = {LineId.of(line.row): line for line in closed.lines if LineId.of(line.row) in shown}
    edits = [edit for edit in registry_changes(closed, registry, since, until) if LineId.of(edit.row) in shown]
    other_targets = _target_changes(closed, targets, registry, until)
    seen = _Seen(
        closed.closed_at, since, until, [e for e in lasting(exclusions, since, until) if e not in closed.exclusions]
    )
    if kept_since is not None and since < kept_since:
        return ChangesSince({}, seen.exclusions(), edits, other_targets, [], recomputed=False)
    some = [row for row in rows if LineId.of(row) in shown]
    found = gather_rows(store, registry, targets, closed.month, some, now, before={}, observe=seen.observe)
    today = {LineId.of(line.row): line for line in found.lines}
    lines = [
        LineSince(was, would, _causes(closed, was, would, edits, seen))
        for line in dict.fromkeys((*then, *today))
        if not _alike(was := then.get(line), would := today.get(line))
    ]
    return ChangesSince(seen.late, seen.exclusions(), edits, other_targets, lines)


def _within(row: LineRow, area: str | None) -> bool:
    return area is None or is_within(row.area, area.strip(SEPARATOR))


class _Seen:
    """Counts, while the results of the month are read, what of them the closing did not have."""

    def __init__(
        self, closed_at: dt.datetime, since: dt.datetime, until: dt.datetime, new: Sequence[Exclusion]
    ) -> None:
        self._closed_at, self._since, self._until, self._new = closed_at, since, until, new
        self.late: Counter[LineId] = Counter()
        self.late_units: set[str] = set()
        self.held: dict[LineId, Counter[Exclusion]] = {}

    def observe(self, line: LineId, samples: Sequence[Sample], outages: Sequence[OutageRow]) -> None:
        in_month = [one for one in outages if clip_outages([one], self._since, self._until)]
        results: list[Sample | OutageRow] = [*samples, *in_month]
        late = sum(received(one) > self._closed_at for one in results)
        if late:
            self.late[line] = late
            self.late_units.add(line.agent)
        self.held[line] = Counter(one for one in self._new for sample in samples if _holds(one, line, sample))

    def exclusions(self) -> list[ExclusionSince]:
        """Those that would hold for a test of the month; all of them while no results were seen."""
        tests = sum(self.held.values(), Counter[Exclusion]())
        return [ExclusionSince(one, tests[one]) for one in self._new if tests[one] or not self.held]


def received(one: Sample | OutageRow) -> dt.datetime:
    """When the server received it; of what version 0.1 stored, when it was measured."""
    return one.at if one.received_ms is None else when(one.received_ms * 1_000_000)


def _holds(entry: Exclusion, line: LineId, sample: Sample) -> bool:
    return entry.is_of(line, sample.server) and entry.covers(sample.at, sample.received_ms)


def _alike(then: LineMonth | None, now: LineMonth | None) -> bool:
    """Whether the figures are the same to the last digit: those of the month before, and names, aside."""
    if then is None or now is None:
        return then is now
    return replace(now, row=then.row, before=then.before) == then


def _causes(
    closed: ClosedMonth,
    then: LineMonth | None,
    now: LineMonth | None,
    edits: Sequence[RegistryChange],
    seen: _Seen,
) -> tuple[Cause, ...]:
    known = then or now
    assert known is not None
    line = LineId.of(known.row)
    by_access = then and now and then.row.target_mbps is None and now.row.target_mbps is None
    holds: dict[Cause, bool] = {
        "late": line in seen.late,
        "exclusion": bool(seen.held.get(line)),
        "registry": then is None or now is None or any(_counts(edit) for edit in edits if LineId.of(edit.row) == line),
        "target": bool(by_access and then and now and then.verdict.target_mbps != now.verdict.target_mbps),
    }
    if any(holds.values()):
        return tuple(cause for cause, so in holds.items() if so)
    if line.agent in seen.late_units:  # days without any test are those of the unit
        return ("late",)
    return ("software",) if closed.software != __version__ else ("unknown",)


def _counts(edit: RegistryChange) -> bool:
    return edit.column in JUDGED_BY or edit.edit in ("row_added", "row_removed")


def registry_changes(
    closed: ClosedMonth, registry: Registry, since: dt.datetime, until: dt.datetime
) -> list[RegistryChange]:
    """Lines and rows that are new or gone, and cells that are others."""
    then = {(row.agent, row.line, row.from_): row for row in closed.registry}
    now = {(row.agent, row.line, row.from_): row for row in rows_in_force(registry, since, until)}
    lines_then, lines_now = ({key[:2] for key in rows} for rows in (then, now))
    changes: list[RegistryChange] = []
    for key in sorted(then.keys() | now.keys()):
        was, row = then.get(key), now.get(key)
        if row is None:
            assert was is not None
            changes.append(RegistryChange(was, "row_removed" if key[:2] in lines_now else "line_removed"))
        elif was is None:
            changes.append(RegistryChange(row, "row_added" if key[:2] in lines_then else "line_added"))
        else:
            cells = ((cell, getattr(was, cell), getattr(row, cell)) for cell in CELLS)
            changes += [RegistryChange(row, "changed", cell, a, b) for cell, a, b in cells if a != b]
    for line in sorted(lines_then & lines_now):
        ended = registry.end_of(*line)
        if ended is not None and ended > closed.closed_at:
            changes.append(RegistryChange(now[max(key for key in now if key[:2] == line)], "line_removed"))
    whole = {(change.edit, LineId.of(change.row)): change for change in changes if change.edit in WHOLE}
    return [*whole.values(), *(change for change in changes if change.edit not in WHOLE)]


def rows_in_force(registry: Registry, since: dt.datetime, until: dt.datetime) -> list[LineRow]:
    """Every row by which a line was registered at some time in [since, until)."""
    first, last = (at.astimezone(registry.zone).date() for at in (since, until - SMALLEST_STEP))
    lines = {LineId.of(row) for row in registry.rows_within(since, until)}
    rows: list[LineRow] = []
    for row in registry.rows():
        if LineId.of(row) not in lines or row.from_ > last:
            continue
        at_first = registry.at(row.agent, row.line, since)
        if row.from_ > first or row == at_first:
            rows.append(row)
    return rows


def _target_changes(
    closed: ClosedMonth, targets: Targets, registry: Registry, until: dt.datetime
) -> list[TargetChange]:
    day = (until - SMALLEST_STEP).astimezone(registry.zone).date()
    pairs = ((access, closed.targets[access], targets.in_force(access, day)) for access in ACCESSES)
    return [TargetChange(access, then, now) for access, then, now in pairs if then != now]
