"""Each setting of the alerts is a rule."""

import datetime as dt

from collector.alerts.alert import AlertRules
from collector.alerts.factory import rules_of
from collector.settings import AlertSettings


def test_the_defaults_of_settings_and_rules_are_the_same() -> None:
    assert rules_of(AlertSettings()) == AlertRules()


def test_a_line_without_data_has_a_time_of_its_own() -> None:
    assert rules_of(AlertSettings(no_data_after_s=7200)).no_data_after == dt.timedelta(hours=2)
