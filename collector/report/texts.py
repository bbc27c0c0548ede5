"""What the report says, in Vietnamese and English. Message ids are the English sentences, as on the page."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from collector.judge.verdict import MIN_DAYS, MIN_PEAK, MIN_TESTS, MIN_VALID, Month, Reason, VerdictName
from collector.report.model import Cause, Change, RegistryEdit
from collector.texts.texts import Texts
from collector.texts.words import access_word
from xomnet.contract.messages import Access
from xomnet.states import Look

CATALOGUE = Path(__file__).parent / "locale" / "vi.po"

LOOKS: Mapping[VerdictName, Look] = {
    "met": Look("●", "MET", "ĐẠT", "#2e7d32"),
    "not_met": Look("▼", "NOT MET", "CHƯA ĐẠT", "#c62828"),
    "not_certain": Look("◐", "UNDECIDED", "CHƯA ĐỦ CƠ SỞ KẾT LUẬN", "#a15c00"),
    "unmeasured": Look("–", "NOT MEASURED", "CHƯA ĐO ĐƯỢC", "#6b7280"),
}
"""In the order of every table: the good first, as an office counts."""

REASONS: Mapping[Reason, str] = {
    "few_tests": "fewer than {tests} tests that count",
    "few_days": "tests that count on fewer than {days} days",
    "few_peak": "fewer than {peak} tests in the peak hours",
    "few_valid": "fewer than {valid} of the scheduled tests count",
    "undecided": "the target lies within the interval",
    "not_assessable": "the plan or the unit's port is slower than the target",
}

CHANGES: Mapping[Change, str] = {
    "improved": "Improved: {n}",
    "worsened": "Worsened: {n}",
    "open": "Verdict changed, change of speed not proven: {n}",
}

CAUSES: Mapping[Cause, str] = {
    "late": "late results",
    "exclusion": "exclusion or release proposed",
    "registry": "registry changed",
    "target": "target changed",
    "software": "computed by another version of xomnet",
    "unknown": "the stored results have changed; the cause must be found",
}

EDITS: Mapping[RegistryEdit, str] = {
    "line_added": "line added",
    "line_removed": "line removed",
    "row_added": "row from {day} added",
    "row_removed": "row from {day} removed",
}
"""All but `changed`, which is said by the name of its cell."""

CELL_NAMES: Mapping[str, str] = {
    "access": "Access type",
    "hamlet_code": "Hamlet code",
    "hamlet": "Hamlet",
    "area": "Area",
    "isp": "Provider",
    "plan_mbps": "Plan (Mb/s)",
    "target_mbps": "Target of the line (Mb/s)",
}

KINDS = {"KH": "Kế hoạch", "QĐ": "Quyết định", "NQ": "Nghị quyết", "CT": "Chỉ thị"}
"""What a document's number says of its kind: 137/KH-UBND."""


@dataclass(frozen=True, slots=True)
class ReportTexts(Texts):
    """Numbers and times as on the page; the sentences are the report's own."""

    catalogue: ClassVar[Path] = CATALOGUE

    def verdict(self, verdict: VerdictName) -> str:
        return LOOKS[verdict].vi if self.language == "vi" else LOOKS[verdict].en

    def access(self, access: Access) -> str:
        return access_word(self, access)

    def reason(self, reason: Reason) -> str:
        """Why a verdict is undecided, with the limit in force."""
        return self.text(REASONS[reason], tests=MIN_TESTS, days=MIN_DAYS, peak=MIN_PEAK, valid=self.percent(MIN_VALID))

    def month(self, month: Month) -> str:
        """11/2026, November 2026."""
        return f"{month.month}/{month.year}" if self.language == "vi" else self._format(month.since(), "MMMM yyyy")

    def day(self, day: dt.date) -> str:
        return day.strftime("%d/%m/%Y") if self.language == "vi" else f"{day.day} {day:%B %Y}"

    def date(self, day: dt.date) -> str:
        """As `day`, short, for a table."""
        return day.strftime("%d/%m/%Y") if self.language == "vi" else f"{day.day} {day:%b %Y}"

    def instant(self, when: dt.datetime) -> str:
        """Minute and date: 16:06 ngày 27/11/2026."""
        return self._format(when, "HH:mm 'ngày' dd/MM/yyyy" if self.language == "vi" else "d MMM yyyy, HH:mm")

    def cause(self, cause: Cause) -> str:
        """Why figures would be others today."""
        return self.text(CAUSES[cause])

    def document(self, source: str) -> str:
        """The kind of a document before its number: Kế hoạch 137/KH-UBND."""
        kind = source.partition("/")[2].partition("-")[0]
        return f"{KINDS.get(kind, 'văn bản')} {source}" if self.language == "vi" else source

    def hours(self, seconds: float) -> str:
        """A length of time in hours, to a tenth; of less than an hour in minutes."""
        if seconds < 3600:
            return self.text("{n} min", n=self.number(seconds / 60, 0))
        return self.text("{n} h", n=self.number(seconds / 3600, 1))
