"""The parts of the alerts, from the settings."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

from collector.alerts.alert import AlertRules
from collector.alerts.channels import NotificationSettings, load_channels
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.service import AlertService
from collector.alerts.store import AlertStore
from collector.completeness.completeness import Completeness
from collector.metrics import Metrics
from collector.settings import AlertSettings, CollectorSettings
from collector.store import Store

BOOK = "alerts.db"


def rules_of(alerts: AlertSettings) -> AlertRules:
    return AlertRules(
        hold=dt.timedelta(seconds=alerts.hold_s),
        suspect=dt.timedelta(seconds=alerts.suspect_s),
        silent_after=dt.timedelta(seconds=alerts.silent_after_s),
        no_data_after=dt.timedelta(seconds=alerts.no_data_after_s),
        lines=alerts.group_lines,
        share=alerts.group_share,
        together=dt.timedelta(seconds=alerts.together_s),
        together_short=dt.timedelta(seconds=alerts.together_short_s),
        calm=dt.timedelta(seconds=alerts.calm_s),
    )


def notification_settings(settings: CollectorSettings) -> NotificationSettings:
    """Raises SecretError or SettingsError, of the file that `notify.urls_file` names."""
    notify = settings.notify
    if notify is None:
        return NotificationSettings()
    return NotificationSettings(
        load_channels(notify.urls_file), notify.language, notify.digest_at, settings.web.public_url
    )


@dataclass(frozen=True, slots=True)
class AlertParts:
    """Desk and courier; no courier where nobody is to be told."""

    desk: AlertService
    courier: Dispatcher | None

    @classmethod
    def of(
        cls,
        settings: CollectorSettings,
        store: Store,
        window: dt.timedelta,
        completeness: Completeness,
        metrics: Metrics,
    ) -> Self:
        """`window` is the one over which lines are judged. Raises SecretError, SettingsError, StoreUnavailable."""
        telling = notification_settings(settings)
        book = AlertStore(settings.state_dir / BOOK)
        rules = rules_of(settings.alerts)
        desk = AlertService(book, store, rules, telling, window, lambda: completeness.latest, metrics)
        courier = Dispatcher(book, telling, metrics) if telling.channels else None
        if courier is not None:
            desk.posted = courier.wake
        return cls(desk, courier)

    def start(self) -> None:
        self.desk.start()
        if self.courier is not None:
            self.courier.start()

    def stop(self) -> None:
        self.desk.stop()
        if self.courier is not None:
            self.courier.stop()
        self.desk.kept.close()
