"""What lines are alerted of: a file for each condition, which holds one object. To add one, add a file here.

Our own alerts, the digest and Grafana's rules read this table, so they cannot differ.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module

from collector.alerts.conditions.condition import AlertFacts, Condition, ConditionTexts, GrafanaRule
from xomnet.states import State, worst_first

__all__ = ["BY_STATE", "CONDITIONS", "AlertFacts", "Condition", "ConditionTexts", "GrafanaRule"]


def _every_condition() -> Iterator[Condition]:
    """The object `CONDITION` of each file of this folder. Raises AttributeError if one has none."""
    for module in pkgutil.iter_modules(__path__):
        if module.name != "condition":
            yield import_module(f"{__name__}.{module.name}").CONDITION


CONDITIONS: tuple[Condition, ...] = tuple(sorted(_every_condition(), key=lambda one: worst_first(one.state)))
"""Worst state first: the order of the alerts of one minute, and of the digest."""

BY_STATE: Mapping[State, Condition] = {condition.state: condition for condition in CONDITIONS}
"""A line in another state has nothing to be alerted of."""
