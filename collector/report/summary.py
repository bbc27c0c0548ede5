"""The counts of the report, each from lines alone, so that anybody can count them again from the CSV. Pure."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from collector.judge.verdict import VERDICTS, Verdict, VerdictName
from collector.report.model import Change, LineMonth
from collector.texts.words import ExclusionCounts
from xomnet import area
from xomnet.contract.messages import Access

Hamlet = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """What became of some lines of one access type."""

    lines: int
    by_verdict: dict[VerdictName, int]
    hamlets: int
    hamlets_by_verdict: dict[VerdictName, int]
    """A hamlet with several lines counts by its worst that was measured."""
    median_mbps: float | None
    """Median of the lines' medians; None where no line was measured."""

    @property
    def measured(self) -> int:
        return self.lines - self.by_verdict["unmeasured"]

    @property
    def share_met(self) -> float | None:
        """Of the lines with a certain verdict, met or not; as `place_month` has it."""
        certain = self.by_verdict["met"] + self.by_verdict["not_met"]
        return self.by_verdict["met"] / certain if certain else None


def hamlet(line: LineMonth) -> Hamlet:
    """What tells hamlets apart: two of one name may lie in one area."""
    return line.row.area, line.row.hamlet, line.row.hamlet_code or ""


def tally(lines: Sequence[LineMonth]) -> VerdictCounts:
    """The lines are of one access type: types are never mixed."""
    hamlets: dict[Hamlet, VerdictName] = {}
    for line in lines:
        seen = hamlets.get(hamlet(line), "unmeasured")
        hamlets[hamlet(line)] = min(seen, line.verdict.verdict, key=VERDICTS.index)
    medians = [line.verdict.median_mbps for line in lines if line.verdict.median_mbps is not None]
    return VerdictCounts(
        lines=len(lines),
        by_verdict=_counted(line.verdict.verdict for line in lines),
        hamlets=len(hamlets),
        hamlets_by_verdict=_counted(hamlets.values()),
        median_mbps=median(medians) if medians else None,
    )


def _counted(verdicts: Iterable[VerdictName]) -> dict[VerdictName, int]:
    found = list(verdicts)
    return {verdict: found.count(verdict) for verdict in VERDICTS}


def of_access(lines: Iterable[LineMonth], access: Access) -> list[LineMonth]:
    return [line for line in lines if line.row.access == access]


def of_verdict(lines: Iterable[LineMonth], verdict: VerdictName) -> list[LineMonth]:
    """Worst first, by median over target."""
    return sorted((line for line in lines if line.verdict.verdict == verdict), key=_ratio)


def of_change(lines: Iterable[LineMonth], change: Change) -> list[LineMonth]:
    """Worst first, by median over target."""
    return sorted((line for line in lines if line.change == change), key=_ratio)


def _ratio(line: LineMonth) -> float:
    return -1.0 if line.verdict.ratio is None else line.verdict.ratio


def group_lines(lines: Iterable[LineMonth], key: Callable[[LineMonth], str]) -> dict[str, list[LineMonth]]:
    """In the order of the alphabet."""
    found: dict[str, list[LineMonth]] = {}
    for line in lines:
        found.setdefault(key(line), []).append(line)
    return dict(sorted(found.items(), key=lambda item: alphabetical(item[0])))


def plain(text: str) -> str:
    """Without case, accents and tone marks."""
    letters = unicodedata.normalize("NFD", text.casefold().replace("đ", "d"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def alphabetical(text: str) -> tuple[str, str]:
    """A sort key: Đông stands among the D, not behind the Z."""
    return plain(text), text


def shared_area(lines: Iterable[LineMonth]) -> str:
    """The area that all lines share, as far down as they do; empty where they share none."""
    return area.shared_area(line.row.area for line in lines)


def area_under(lines: Iterable[LineMonth]) -> Callable[[LineMonth], str]:
    """Which area a line counts for: the level below the one that all `lines` share, or that one where there is none."""
    shared = shared_area(lines)

    def area_of(line: LineMonth) -> str:
        below = area.below(line.row.area, shared)
        return area.levels(below)[0] if below else area.last_level(line.row.area)

    return area_of


@dataclass(frozen=True, slots=True)
class Coverage:
    """Hamlets of the registry, and those of which a line was measured."""

    hamlets: int
    measured: int

    @property
    def share(self) -> float:
        return self.measured / self.hamlets


def coverage(lines: Sequence[LineMonth]) -> Coverage:
    """Over all access types; at least one line."""
    measured = {hamlet(line) for line in lines if line.verdict.verdict != "unmeasured"}
    return Coverage(len({hamlet(line) for line in lines}), len(measured))


def excluded_for(verdicts: Iterable[Verdict]) -> ExclusionCounts:
    """How many tests each reason takes out of some months, the most first."""
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        counts.update(dict(verdict.excluded_for))
    return counts.most_common()


@dataclass(frozen=True, slots=True)
class Troubles:
    """Outages of lines, units that said nothing on whole days, tests that count as 0."""

    outages: int
    outage_s: float
    silent_units: int
    failed: int


def troubles(lines: Sequence[LineMonth]) -> Troubles:
    return Troubles(
        outages=sum(line.outages for line in lines),
        outage_s=sum(line.outage_s for line in lines),
        silent_units=len({line.row.agent for line in lines if line.unit_silent_days}),
        failed=sum(line.verdict.failed for line in lines),
    )
