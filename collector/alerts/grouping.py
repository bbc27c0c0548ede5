"""Whether lines in trouble have one cause: most lines of a provider or of an area, at about the same time. Pure."""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from collector.alerts.alert import AlertRules, Kind, Trouble
from collector.judge.line_states import LineStatus
from collector.store import LineId
from xomnet.area import areas_of
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow

FEWEST_UNITS = 3
"""The lines of one or two units have the unit in common before anything else."""


@dataclass(frozen=True, slots=True)
class AffectedPlace:
    """What lines may have in common."""

    kind: Kind
    name: str
    access: Access | None = None


@dataclass(frozen=True, slots=True)
class CommonCause:
    """A place with its lines: `fallen` are in trouble, `suspects` lean to it."""

    place: AffectedPlace
    fallen: frozenset[LineId]
    suspects: frozenset[LineId]
    witnesses: int
    """Lines that could have shown the trouble by now, fallen and suspects among them."""

    def likely(self, rules: AlertRules) -> bool:
        """True where most of those that can tell say the same."""
        known = self.fallen | self.suspects
        units = {line.agent for line in known}
        return (
            len(known) >= rules.lines
            and len(units) >= min(FEWEST_UNITS, rules.lines)
            and len(known) >= rules.share * self.witnesses
        )

    def proven(self, rules: AlertRules) -> bool:
        """True where enough lines have fallen, too."""
        return self.likely(rules) and len(self.fallen) >= rules.lines

    def fits(self, fallen: int) -> float:
        """How well the place explains `fallen` lines in all: 1 where all of its lines have fallen, and no others."""
        return len(self.fallen) * (len(self.fallen) + len(self.suspects)) / (self.witnesses * fallen)


def places_of(row: LineRow) -> list[AffectedPlace]:
    return [AffectedPlace("isp", row.isp, row.access), *(AffectedPlace("area", area) for area in areas_of(row.area))]


def leans(status: LineStatus, trouble: Trouble) -> bool:
    """True where a line is on its way into a trouble."""
    judged = status.judgement
    if trouble == "silent":
        return judged.state == "silent" and judged.last_result_at is not None
    return judged.leaning and judged.state != "short"


def causes(
    seen: Iterable[LineStatus],
    fallen: Mapping[LineId, dt.datetime],
    old: Collection[LineId],
    trouble: Trouble,
) -> list[CommonCause]:
    """The places with a fallen line, best fit first. `fallen`: since when each has had the trouble; `old` lines have
    had it for longer than a common cause takes, and tell nothing of this one.
    """
    rows = [status for status in seen if status.id not in old]
    wanted = {place for s in rows if s.id in fallen for place in places_of(s.row)}
    members: dict[AffectedPlace, list[LineStatus]] = {place: [] for place in wanted}
    for status in rows:
        for place in places_of(status.row):
            if place in members:
                members[place].append(status)
    found = [_cause(place, statuses, fallen, trouble) for place, statuses in members.items()]
    return sorted(found, key=lambda cause: (-cause.fits(len(fallen)), _rank(cause.place, trouble)))


def _cause(
    place: AffectedPlace, statuses: list[LineStatus], fallen: Mapping[LineId, dt.datetime], trouble: Trouble
) -> CommonCause:
    by_id = {s.id: s for s in statuses}
    own = frozenset(line for line in by_id if line in fallen)
    began = min(fallen[line] for line in own)
    suspects = frozenset(line for line, status in by_id.items() if line not in own and leans(status, trouble))
    others = sum(line not in own | suspects and _tells(status, trouble, began) for line, status in by_id.items())
    return CommonCause(place, own, suspects, len(own) + len(suspects) + others)


def _tells(status: LineStatus, trouble: Trouble, began: dt.datetime) -> bool:
    """True where a line that is not in trouble would have shown it by now: it was heard, or tested, since it began."""
    judged = status.judgement
    if trouble == "silent":
        return judged.last_result_at is not None
    return judged.state in ("meeting", "uncertain") and any(sample.at > began for sample in status.samples)


def _rank(place: AffectedPlace, trouble: Trouble) -> tuple[bool, int, str, str]:
    """Of places that fit equally: silence rather has a cause that is local, a slow line one of its provider. The names
    come last, so that the same lines always give the same answer.
    """
    local = place.kind == "area"
    return local != (trouble == "silent"), -place.name.count("/"), place.name, place.access or ""
