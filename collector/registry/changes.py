"""Which change of the registry would give a stored result other tags. Pure.

InfluxDB identifies a point by its tags and its time: a result that is sent again after a lost ack must get the tags
that it was stored with, or it is stored twice. So a line's tags of a day must not change once results of that day are
stored. A change of today's tags is a new row from tomorrow on.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from collector.store.line_id import LineId
from collector.store.points import tags_of
from xomnet.contract.characters import unfit_characters
from xomnet.registry.registry import LineRow, Registry

LAST_DAY = dt.date(2200, 1, 1)


@dataclass(frozen=True, slots=True)
class Retag:
    """From `since` until before `until` the results of a line ('': of the unit itself) would get the tags of `row`."""

    line: LineId
    since: dt.date
    until: dt.date
    row: LineRow
    changes: tuple[tuple[str, str, str], ...]
    """Tag, before, now."""


def retags(old: Registry, new: Registry) -> list[Retag]:
    """Every span of days in which both registries have a line and give it different tags."""
    found: list[Retag] = []
    dates: dict[str, set[dt.date]] = {}
    for row in [*old.rows(), *new.rows()]:
        dates.setdefault(row.agent, set()).add(row.from_)
    lines = {agent: {""} for agent in dates}
    for row in old.rows():
        lines[row.agent].add(row.line)
    for agent, days in dates.items():
        for since, until in pairwise([*sorted(days), LAST_DAY]):
            for line in sorted(lines[agent]):
                before, now = (_in_force(registry, agent, line, since) for registry in (old, new))
                if before is not None and now is not None:
                    changes = tuple(_changes(tags_of(before, line or None), tags_of(now, line or None)))
                    if changes:
                        found.append(Retag(LineId(agent, line), since, until, now, changes))
    return found


def start_of(registry: Registry, day: dt.date) -> dt.datetime:
    """The instant from which on a row with this `from` is in force."""
    return dt.datetime.combine(day, dt.time(), registry.zone)


def _in_force(registry: Registry, agent: str, line: str, day: dt.date) -> LineRow | None:
    when = start_of(registry, day)
    return registry.at(agent, line, when) if line else registry.row_of_agent(agent, when)


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """A name that an earlier version took, and that the file may not have any more, may change."""
    return (
        (tag, before[tag], now[tag]) for tag in before if before[tag] != now[tag] and not unfit_characters(before[tag])
    )


def removed_rows(before: Iterable[LineRow], new: Iterable[LineRow]) -> list[LineRow]:
    """The rows of lines that the new registry does not have: should one come back, it must be the same."""
    there = {(row.agent, row.line) for row in new}
    return [row for row in before if (row.agent, row.line) not in there]
