"""The steps of `xomnet report` and `xomnet month`: settings, month, the figures, the file of the format asked for."""

import datetime as dt
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from collector.ingest.resend import ArchiveOpener
from collector.judge.verdict import Month
from collector.registry.registry_file import HISTORY_FILE, load_with_removed
from collector.report.changes import changes_since
from collector.report.closed import ClosedMonth, ClosedMonths
from collector.report.closing import close_month
from collector.report.columns import stamp
from collector.report.document import document
from collector.report.gather import ReportError, gather
from collector.report.model import ChangesSince, MonthlyReport
from collector.report.summary import coverage, excluded_for, of_access, of_change, tally, troubles
from collector.settings import CollectorSettings, SqliteSettings
from collector.store import Store
from collector.store.closed_months import MonthClosing
from collector.store.errors import StoreUnavailable
from collector.store.excluding_store import ExcludingStore
from collector.store.exclusion_table import read_exclusions
from collector.store.exclusions import Exclusion
from collector.store.factory import open_store
from collector.store.record_db import FILE
from collector.texts.texts import Language
from xomnet.access import ACCESSES
from xomnet.defaults import config_file
from xomnet.registry.registry import Registry, RegistryError
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError, load
from xomnet.targets import Targets, load_targets

Format = Literal["pdf", "docx", "xlsx", "csv", "html"]
FORMATS: tuple[Format, ...] = get_args(Format)

ERRORS = (ReportError, RegistryError, SecretError, SettingsError, StoreUnavailable)
"""The errors that `xomnet report` shows to its user: each is a sentence."""

INSTALL: Mapping[str, str] = {
    "libs": "pip install 'xomnet[report]'",
    "pango": "apt-get install libpangoft2-1.0-0 fonts-liberation",
}


def format_of(file: Path) -> Format:
    """The format that a file name's ending asks for. Raises ReportError."""
    for format_ in FORMATS:
        if file.suffix.lower() == f".{format_}":
            return format_
    raise ReportError(f"{file}: a report is written as {', '.join(f'.{format_}' for format_ in FORMATS)}")


def load_settings(file: Path) -> CollectorSettings:
    """The collector's settings. Raises SettingsError."""
    return load(file, CollectorSettings)


def parse_month(text: str) -> Month:
    """The month of a text such as `2026-11`. Raises ReportError."""
    try:
        return Month.parse(text)
    except ValueError as error:
        raise ReportError(str(error)) from error


class _Opened(NamedTuple):
    """What a month is made of, as the settings name it; a collector may run beside."""

    store: Store
    registry: Registry
    targets: Targets
    exclusions: Sequence[Exclusion]
    kept_since: dt.datetime | None


@contextmanager
def _open(settings: CollectorSettings, now: dt.datetime) -> Iterator[_Opened]:
    """Raises one of ERRORS."""
    if isinstance(settings.store, SqliteSettings):
        try:
            settings.store.path.stat()
        except OSError as error:
            raise ReportError(
                f"store.path: {settings.store.path}: {error.strerror}; name the file that the collector writes, and run"
                " this as its user"
            ) from error
    targets = load_targets(settings.targets or config_file("targets.yaml"))
    registry = load_with_removed(settings.registry, targets, settings.state_dir / HISTORY_FILE, now)
    keep = settings.store.keep_days
    kept_since = None if keep is None else now - dt.timedelta(days=keep)
    exclusions = read_exclusions(settings.state_dir / FILE)
    store = ExcludingStore(open_store(settings, read_only=True), lambda: exclusions)
    try:
        yield _Opened(store, registry, targets, exclusions.entries, kept_since)
    finally:
        store.close()


@contextmanager
def _open_months(settings: CollectorSettings) -> Iterator[ClosedMonths | None]:
    """The closed months, for who only reads; None where no month was ever closed. Raises StoreUnavailable."""
    months = ClosedMonths.open_existing(settings.state_dir)
    try:
        yield months
    finally:
        if months is not None:
            months.close()


def read_report(settings: CollectorSettings, month: Month, area: str | None, now: dt.datetime) -> MonthlyReport:
    """The month from the store and the registry that the settings name; a closed one as it was closed, with what came
    after. Raises one of ERRORS.
    """
    with _open_months(settings) as months:
        closed = months.read(month) if months else None
        before = months.before(month) if months else None
    with _open(settings, now) as of:
        if closed is None:
            return gather(of.store, of.registry, of.targets, month, area, now, of.kept_since, before)
        closed.report(area, now)  # an area that it does not have is said at once
        since = changes_since(closed, of.store, of.registry, of.targets, of.exclusions, now, area, of.kept_since)
        return closed.report(area, now, since)


def close(
    settings: CollectorSettings, month: Month, by: str, now: dt.datetime, open_archive: ArchiveOpener
) -> ClosedMonth:
    """Closes a month, and gives its record to the archive. Raises one of ERRORS."""
    _check_user(settings.state_dir)
    with _open(settings, now) as of:
        months = ClosedMonths.open(settings.state_dir)
        try:
            return close_month(
                *(months, of.store, of.registry, of.targets, of.exclusions, month, by, now, of.kept_since),
                archive=open_archive(settings),
            )
        finally:
            months.close()


def closed_months(settings: CollectorSettings) -> list[MonthClosing]:
    """Raises ReportError where there is no state folder, and StoreUnavailable."""
    _owner(settings.state_dir)
    with _open_months(settings) as months:
        return list(months.closings().values()) if months else []


def read_closed(settings: CollectorSettings, month: Month) -> ClosedMonth:
    """Raises ReportError where the month is open or there is no state folder, and StoreUnavailable."""
    _owner(settings.state_dir)
    with _open_months(settings) as months:
        closed = months.read(month) if months else None
    if closed is None:
        raise ReportError(f"{month} is not closed; xomnet month list names the closed months")
    return closed


def head(closing: MonthClosing) -> dict[str, Any]:
    """A closing, for programs."""
    return {"month": closing.month, "closed_at": stamp(closing.at), "by": closing.by}


def describe(closed: ClosedMonth) -> dict[str, Any]:
    """What was kept of a month, for programs."""
    return {
        **head(closed.closing),
        "version": closed.version,
        "xomnet": closed.software,
        "lines": len(closed.lines),
        "registry_rows": len(closed.registry),
        "exclusions": len(closed.exclusions),
        "summary": summary(closed.report(None, closed.closed_at)),
    }


def _check_user(state_dir: Path) -> None:
    """Raises ReportError for another user than the collector's: it could no longer write its own file."""
    if _owner(state_dir) != os.geteuid():
        raise ReportError(f"{state_dir} is another user's; run this as the collector's user: sudo -u xomnet xomnet …")


def _owner(state_dir: Path) -> int:
    """Raises ReportError where there is no such folder."""
    try:
        return state_dir.stat().st_uid
    except OSError as error:
        raise ReportError(f"state_dir: {state_dir}: {error.strerror}; run this on the collector's machine") from error


def render(report: MonthlyReport, settings: CollectorSettings, language: Language, form: Format) -> bytes:
    """The file's content. Raises ReportError if a library that the format needs is not installed."""
    try:
        return _render(report, settings, language, form)
    except ImportError as error:
        raise ReportError(f"{error.name} is not installed, which .{form} needs: {INSTALL['libs']}") from error
    except OSError as error:  # weasyprint looks for pango when it is loaded
        raise ReportError(f"a library that .{form} needs is missing ({error}): {INSTALL['pango']}") from error


def _render(report: MonthlyReport, settings: CollectorSettings, language: Language, form: Format) -> bytes:
    # each format loads its own library, and only when it is asked for
    if form == "csv":
        from collector.report.as_csv import as_csv  # noqa: PLC0415

        return as_csv(report, language)
    content = document(report, settings.report, language)
    match form:
        case "html":
            from collector.report.as_html import as_html  # noqa: PLC0415

            return as_html(content)
        case "pdf":
            from collector.report.as_pdf import as_pdf  # noqa: PLC0415

            return as_pdf(content)
        case "docx":
            from collector.report.as_docx import as_docx  # noqa: PLC0415

            return as_docx(content)
        case "xlsx":
            from collector.report.as_xlsx import as_xlsx  # noqa: PLC0415

            return as_xlsx(content, report, language)


def check_folder(file: Path) -> None:
    """Raises ReportError where a file can't be written, before an hour is spent on it."""
    if file.is_dir():
        raise ReportError(f"{file} is a folder; name a file")
    try:
        with tempfile.TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise ReportError(f"{file} can't be written: {error.strerror or error}") from error


def write_file(file: Path, content: bytes) -> None:
    """Replaces the file atomically: the old one stays until the new one is on the disk. Raises ReportError."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with new.open("xb") as to:
            to.write(content)
            to.flush()
            os.fsync(to.fileno())
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ReportError(f"{file} can't be written: {error.strerror or error}") from error


def summary(report: MonthlyReport) -> dict[str, Any]:
    """The figures of the summary, for programs."""
    covered, found = coverage(report.lines), troubles(report.lines)
    by_access: dict[str, Any] = {}
    for access in ACCESSES:
        own = tally(of_access(report.lines, access))
        by_access[access] = {
            "target_mbps": report.targets[access].down_mbps,
            "lines": own.lines,
            **own.by_verdict,
            "share_met": own.share_met,
            "median_mbps": own.median_mbps,
            "hamlets": own.hamlets,
            "hamlets_met": own.hamlets_by_verdict["met"],
        }
    return {
        "lines": len(report.lines),
        "hamlets": covered.hamlets,
        "hamlets_measured": covered.measured,
        **by_access,
        "improved": len(of_change(report.lines, "improved")) if report.compared else None,
        "worsened": len(of_change(report.lines, "worsened")) if report.compared else None,
        "outages": found.outages,
        "outage_s": found.outage_s,
        "silent_units": found.silent_units,
        "failed": found.failed,
        "excluded_for": dict(excluded_for(line.verdict for line in report.lines)),
        "closed": None if report.closing is None else {"at": stamp(report.closing.at), "by": report.closing.by},
        "changed_since": None if report.since is None else _changed(report.since),
    }


def _changed(since: ChangesSince) -> dict[str, int | None]:
    return {
        "late_results": sum(since.late.values()) if since.recomputed else None,
        "exclusions": len(since.exclusions),
        "registry": len(since.registry),
        "targets": len(since.targets),
        "lines": len(since.lines) if since.recomputed else None,
    }
