"""What lines are alerted of: a file for each condition, which holds one object. To add one, add a file here.

Our own alerts, the digest and Grafana's rules are made of this table. Since when a line is due for an alert goes to
Grafana as a field of `line_state`, so that the settings of the waits hold there too.
"""

import datetime as dt
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module

from collector.alerts.alert import AlertRules
from collector.alerts.conditions.condition import AlertFacts, Condition, ConditionTexts, GrafanaRule
from collector.judge.line_states import LineStatus
from xomnet.states import State, worst_first

__all__ = ["BY_STATE", "CONDITIONS", "AlertFacts", "Condition", "ConditionTexts", "GrafanaRule", "is_alert_due"]


def _every_condition() -> Iterator[Condition]:
    """The object `CONDITION` of each file of this folder. Raises AttributeError if one has none."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "condition":
            yield import_module(f"{__name__}.{module.name}").CONDITION


CONDITIONS: tuple[Condition, ...] = tuple(sorted(_every_condition(), key=lambda one: worst_first(one.state)))
"""Worst state first: the order of the alerts of one minute, and of the digest."""

BY_STATE: Mapping[State, Condition] = {condition.state: condition for condition in CONDITIONS}
"""A line in another state has nothing to be alerted of."""


def is_alert_due(status: LineStatus, rules: AlertRules, now: dt.datetime) -> bool:
    """Whether a line is in a condition that has lasted long enough for an alert."""
    condition = BY_STATE.get(status.judgement.state)
    return condition is not None and condition.opens(status, rules, now) is not None
