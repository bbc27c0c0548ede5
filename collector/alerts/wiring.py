"""The parts of the alerts, from the settings."""

import datetime as dt

from collector.alerts.alert import Rules
from collector.alerts.book import AlertBook
from collector.alerts.channels import load_channels
from collector.alerts.courier import Courier
from collector.alerts.desk import Desk, Telling
from collector.completeness import Completeness
from collector.metrics import Metrics
from collector.settings import AlertSettings, CollectorSettings
from collector.store import Store

BOOK = "alerts.db"


def rules_of(alerts: AlertSettings) -> Rules:
    return Rules(
        hold=dt.timedelta(seconds=alerts.hold_s),
        suspect=dt.timedelta(seconds=alerts.suspect_s),
        silent_after=dt.timedelta(seconds=alerts.silent_after_s),
        lines=alerts.group_lines,
        share=alerts.group_share,
        together=dt.timedelta(seconds=alerts.together_s),
        together_short=dt.timedelta(seconds=alerts.together_short_s),
        calm=dt.timedelta(seconds=alerts.calm_s),
    )


def telling_of(settings: CollectorSettings) -> Telling:
    """Raises SecretError or SettingsError, of the file that `notify.urls_file` names."""
    notify = settings.notify
    if notify is None:
        return Telling()
    return Telling(load_channels(notify.urls_file), notify.language, notify.digest_at, settings.web.public_url)


def wired(
    settings: CollectorSettings, store: Store, completeness: Completeness, metrics: Metrics
) -> tuple[Desk, Courier | None]:
    """The desk, and a courier where somebody is to be told. Raises SecretError, SettingsError."""
    telling = telling_of(settings)
    book = AlertBook(settings.state_dir / BOOK)
    window = dt.timedelta(hours=settings.assess.window_hours)
    desk = Desk(book, store, rules_of(settings.alerts), telling, window, lambda: completeness.latest, metrics)
    if not telling.channels:
        return desk, None
    courier = Courier(book, telling, metrics)
    desk.posted = courier.wake
    return desk, courier
