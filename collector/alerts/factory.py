"""The parts of the alerts, from the settings."""

import datetime as dt
from dataclasses import dataclass
from typing import Self

from collector.alerts.alert import AlertRules
from collector.alerts.backup_age import BackupWatch
from collector.alerts.channels import NotificationSettings, load_channels
from collector.alerts.dispatcher import Dispatcher
from collector.alerts.service import AlertService
from collector.alerts.store import AlertStore
from collector.completeness.completeness import Completeness
from collector.metrics import Metrics
from collector.settings import AlertSettings, CollectorSettings
from collector.store import Store

FILE = "alerts.db"


def rules_of(alerts: AlertSettings) -> AlertRules:
    return AlertRules(
        group_wait=dt.timedelta(seconds=alerts.group_wait_s),
        max_group_wait=dt.timedelta(seconds=alerts.max_group_wait_s),
        silent_after=dt.timedelta(seconds=alerts.silent_after_s),
        no_data_after=dt.timedelta(seconds=alerts.no_data_after_s),
        group_lines=alerts.group_lines,
        group_share=alerts.group_share,
        group_window=dt.timedelta(seconds=alerts.group_window_s),
        group_window_short=dt.timedelta(seconds=alerts.group_window_short_s),
        keep_firing_for=dt.timedelta(seconds=alerts.keep_firing_for_s),
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
    """No dispatcher if there is no channel."""

    service: AlertService
    dispatcher: Dispatcher | None

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
        channels = notification_settings(settings)
        alerts = AlertStore(settings.state_dir / FILE)
        rules = rules_of(settings.alerts)
        dispatcher = Dispatcher(alerts, channels, metrics) if channels.channels else None
        on_queued = (lambda: None) if dispatcher is None else dispatcher.wake
        backup = BackupWatch(settings.backup_stamp) if settings.backup_stamp else None
        service = AlertService(
            *(alerts, store, rules, channels, window, lambda: completeness.latest, metrics, on_queued, backup)
        )
        return cls(service, dispatcher)

    def start(self) -> None:
        self.service.start()
        if self.dispatcher is not None:
            self.dispatcher.start()

    def stop(self) -> None:
        self.service.stop()
        if self.dispatcher is not None:
            self.dispatcher.stop()
        self.service.store.close()
