"""Whether lines with a condition have one cause: most of a provider or of an area, at about the same time. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from collector.alerts.alert import AlertRules
from collector.alerts.conditions import Condition
from collector.alerts.conditions.condition import Wide
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from xomnet.area import areas_of, levels
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow

FEWEST_UNITS = 3
"""The lines of one or two units have the unit in common before anything else."""


@dataclass(frozen=True, slots=True)
class AffectedPlace:
    """What lines may have in common."""

    kind: Wide
    name: str
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class CommonCause:
    """A place with its lines: `affected` have the condition, `leaning` are on their way into it."""

    place: AffectedPlace
    affected: frozenset[LineId]
    leaning: frozenset[LineId]
    observable: int
    """Lines that would show the condition by now, affected and leaning ones among them."""

    def is_likely(self, rules: AlertRules) -> bool:
        """True if most of the lines that would show it do, or lean to it."""
        known = self.affected | self.leaning
        units = {line.agent for line in known}
        return (
            len(known) >= rules.group_lines
            and len(units) >= min(FEWEST_UNITS, rules.group_lines)
            and len(known) >= rules.group_share * self.observable
        )

    def is_proven(self, rules: AlertRules) -> bool:
        """True if enough lines are affected, too."""
        return self.is_likely(rules) and len(self.affected) >= rules.group_lines

    def fit(self, affected: int) -> float:
        """How well the place explains `affected` lines in all: 1 if all of its lines are affected, and no others."""
        return len(self.affected) * (len(self.affected) + len(self.leaning)) / (self.observable * affected)


def places_of(row: LineRow) -> list[AffectedPlace]:
    return [AffectedPlace("isp", row.isp, row.access), *(AffectedPlace("area", area) for area in areas_of(row.area))]


def common_causes(
    statuses: Iterable[LineStatus],
    affected: Mapping[LineId, dt.datetime],
    old: Collection[LineId],
    condition: Condition,
) -> list[CommonCause]:
    """The places with an affected line, best fit first. `affected`: since when each has had the condition; `old` lines
    have had it for longer than a common cause takes, and say nothing of this one.
    """
    rows = [status for status in statuses if status.id not in old]
    wanted = {place for s in rows if s.id in affected for place in places_of(s.row)}
    members: dict[AffectedPlace, list[LineStatus]] = {place: [] for place in wanted}
    for status in rows:
        for place in places_of(status.row):
            if place in members:
                members[place].append(status)
    found = [_cause(place, of, affected, condition) for place, of in members.items()]
    return sorted(found, key=lambda cause: (-cause.fit(len(affected)), _rank(cause.place, condition)))


def _cause(
    place: AffectedPlace, statuses: list[LineStatus], affected: Mapping[LineId, dt.datetime], condition: Condition
) -> CommonCause:
    by_id = {s.id: s for s in statuses}
    own = frozenset(line for line in by_id if line in affected)
    began = min(affected[line] for line in own)
    leaning = frozenset(line for line, status in by_id.items() if line not in own and condition.leans(status))
    others = sum(line not in own | leaning and condition.would_show(s, began) for line, s in by_id.items())
    return CommonCause(place, own, leaning, len(own) + len(leaning) + others)


def _rank(place: AffectedPlace, condition: Condition) -> tuple[bool, int, str, str]:
    """Of places that fit equally. The names come last, so that the same lines always give the same answer."""
    return place.kind != condition.likelier_cause, -len(levels(place.name)), place.name, place.access or ""
