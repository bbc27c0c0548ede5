"""The collector's settings: `collector.yaml`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from xomnet.contract.values import Text
from xomnet.mqtt.broker import Broker
from xomnet.runtime.log import Level

Port = Annotated[int, Meta(ge=1, le=65535)]
Positive = Annotated[float, Meta(gt=0, le=1e7)]
KeepDays = Annotated[int, Meta(ge=70, le=36_500)]
"""Two months and some days at least: last month is judged again while its results still arrive late."""


class Unusable(Exception):
    """Something that the settings name can't be used on this machine."""


def require_owner(state_dir: Path) -> None:
    """Raises Unusable where there is no such folder, or for a user to whom it does not belong, and whose files the
    collector could not write.
    """
    try:
        owner = state_dir.stat().st_uid
    except OSError as error:
        raise Unusable(f"state_dir: {state_dir}: {error.strerror}; put back its backup, or create it") from error
    if os.geteuid() != owner:
        raise Unusable(f"{state_dir}: belongs to user {owner}; run this as that user, with sudo -u")


class SqliteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="sqlite"):
    path: Path
    keep_days: KeepDays | None = None
    """Results older than this are deleted; roll-ups stay. Absent: for ever."""


class InfluxSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="influx"):
    url: Annotated[str, Meta(pattern="^https?://")]
    token_file: Path
    bucket: Annotated[str, Meta(min_length=1)]
    org: Annotated[str, Meta(min_length=1)] = "-"
    timeout_s: Positive = 10.0
    keep_days: KeepDays | None = None
    """What the bucket's own retention is: roll-ups of results that it has let go of are left as they are."""
    rollups_bucket: Annotated[str, Meta(min_length=1)] | None = None
    """Where the roll-ups go, to outlive the results; absent: into `bucket`."""


class WebSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    port: Port = 8420
    operator_token_file: Path | None = None
    """Absent: the page and the REST interface only show, and nobody may change anything there."""
    public_url: Annotated[str, Meta(pattern="^https?://")] | None = None
    """What leads to the page from outside: for the links in messages."""


class AssessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_s: Positive = 60.0
    window_hours: Positive = 72.0
    """Best whole days: the daily course is left out. A metered line has four tests a day, six are needed."""
    silent_after_s: Positive = 900.0
    confirm: bool = True
    """A line that is likely below target gets a few more tests before an alert opens."""
    latency_limit_ms: Positive = 100.0
    """Median round trip of an hour; the FCC asks for 95 % of round trips at or below 100 ms of lines it pays for."""
    loss_limit_percent: Annotated[float, Meta(ge=0, le=100)] = 2.0
    """Of an hour's echoes; the share of failures that the Vietnamese rules for mobile data allowed in 2018."""


class CompletenessSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    every_s: Positive = 600.0
    grace_s: Positive = 3600.0
    """How long results may come later than the manifest that names them."""


class QuotaSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a unit may bring: see collector.ingest.quota."""

    tests_per_day: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    """Of a line; absent: those of the schedule, by access type."""
    probes_per_day: Annotated[int, Meta(ge=1, le=100_000)] = 288
    """Of latency for each line, and of health."""
    events_per_day: Annotated[int, Meta(ge=1, le=100_000)] = 100
    """Of a line, and of the unit itself; as many outages."""
    results_per_s: Annotated[float, Meta(gt=0, le=1e5)] = 50.0
    """Faster than that results of a unit are left unanswered, and come again."""
    mb_per_day: Annotated[float, Meta(gt=0, le=1e6)] = 100.0
    """As much as a unit's spool holds."""


class ArchiveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of every accepted message, byte for byte: see collector.archive."""

    folder: Path | None = None
    """Absent: `archive` in state_dir."""
    keep_days: KeepDays | None = None
    """Older days are deleted. Absent: none."""
    max_gb: Annotated[float, Meta(gt=0, le=1e6)] = 20.0
    """Above it the oldest days are deleted; two years of 1,500 lines."""


class ReportSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands at the head of the monthly report; dotted lines where absent."""

    parent: Text | None = None
    """The office above the authority."""
    authority: Text | None = None
    place: Text | None = None


class AlertSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an alert opens and ends: see collector.alerts.alert.AlertRules."""

    RENAMED: ClassVar[Mapping[str, str]] = {
        "hold_s": "group_wait_s",
        "suspect_s": "max_group_wait_s",
        "together_s": "group_window_s",
        "together_short_s": "group_window_short_s",
        "calm_s": "keep_firing_for_s",
    }
    """Names of version 0.1."""

    group_wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0
    max_group_wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 3600.0
    silent_after_s: Positive = 1800.0
    no_data_after_s: Positive = 86_400.0
    group_lines: Annotated[int, Meta(ge=2)] = 5
    group_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    group_window_s: Positive = 3600.0
    group_window_short_s: Positive = 43_200.0
    keep_firing_for_s: Annotated[float, Meta(ge=0, le=86_400)] = 600.0


class NotifySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    urls_file: Path
    language: Literal["vi", "en"] = "vi"
    digest_at: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$|^never$")] = "07:00"


class CollectorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    broker: Broker
    registry: Path
    state_dir: Path
    store: SqliteSettings | InfluxSettings
    targets: Path | None = None
    """Absent: the targets that come with xomnet."""
    client_id: Annotated[str, Meta(min_length=1, max_length=64)] = "xomnet-collector"
    web: WebSettings = WebSettings()
    assess: AssessSettings = AssessSettings()
    completeness: CompletenessSettings = CompletenessSettings()
    quota: QuotaSettings = QuotaSettings()
    archive: ArchiveSettings = ArchiveSettings()
    report: ReportSettings = ReportSettings()
    alerts: AlertSettings = AlertSettings()
    notify: NotifySettings | None = None
    """Absent: alerts are decided and shown, and nobody is told."""
    permission_key: Path | None = None
    """The Ed25519 key that signs the units' permissions to measure. Absent: units get none."""
    backup_stamp: Path | None = None
    """A file that each backup of the server writes. Absent: nobody is told that one is overdue."""
    log_level: Level = "info"

    @property
    def archive_folder(self) -> Path:
        """Where accepted messages are kept."""
        return self.archive.folder or self.state_dir / "archive"
