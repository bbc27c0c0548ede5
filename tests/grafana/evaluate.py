"""What Grafana makes of an alert rule, as far as ours go: a query, the last value of each series, above a threshold.

States are those of one evaluation: before `for` has passed, Grafana calls `Alerting` pending.
"""

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.grafana.expand import Span, expand
from tests.support.services import Influx

Labels = frozenset[tuple[str, str]]


class DuplicateSeries(Exception):
    """Grafana takes no two series with the same labels."""


@dataclass(frozen=True)
class Evaluation:
    """Of every series: whether the condition holds, and the values that annotations may name."""

    firing: dict[Labels, bool]
    values: dict[str, dict[Labels, float]] = field(default_factory=dict)
    state: str = "Normal"
    """`NoData` where no series came; else `Alerting` where any fires."""

    def who(self, *tags: str) -> set[tuple[str, ...]]:
        """Which of the series fire, by some of their labels."""
        return {tuple(dict(labels).get(tag, "") for tag in tags) for labels, fires in self.firing.items() if fires}


def evaluate(rule: Mapping[str, Any], influx: Influx, database: str, now: dt.datetime) -> Evaluation:
    """One evaluation at `now`. Raises DuplicateSeries."""
    found: dict[str, dict[Labels, float]] = {}
    for node in rule["data"]:
        model, ref = node["model"], node["refId"]
        assert model["refId"] == ref
        if node["datasourceUid"] != "__expr__":
            since, until = (now - dt.timedelta(seconds=node["relativeTimeRange"][end]) for end in ("from", "to"))
            found[ref] = _series(influx.query(expand(model["query"], {}, {}, Span(since, until)), database))
        elif model["type"] == "reduce":
            assert (model["reducer"], model["settings"]) == ("last", {"mode": "dropNN"})
            found[ref] = dict(found[model["expression"]])
        elif model["type"] == "threshold":
            (condition,) = model["conditions"]
            assert condition["evaluator"]["type"] == "gt"
            (limit,) = condition["evaluator"]["params"]
            found[ref] = {labels: float(value > limit) for labels, value in found[model["expression"]].items()}
        else:
            assert (model["type"], model["expression"]) == ("math", "1 == 1")
            found[ref] = {frozenset(): 1.0}
    firing = {labels: bool(value) for labels, value in found[rule["condition"]].items()}
    state = "NoData" if not firing else "Alerting" if any(firing.values()) else "Normal"
    return Evaluation(firing, found, state)


def _series(text: str) -> dict[Labels, float]:
    """The last value that is there, of each series; each column but the time is a series of its own."""
    (result,) = json.loads(text)["results"]
    found: dict[Labels, float] = {}
    for series in result.get("series", ()):
        labels = frozenset(series.get("tags", {}).items())
        for column in range(1, len(series["columns"])):
            values = [row[column] for row in series["values"] if row[column] is not None]
            if labels in found:
                raise DuplicateSeries(dict(labels))
            if values:
                found[labels] = float(values[-1])
    return found


def said(text: str, labels: Mapping[str, str], values: Mapping[str, float]) -> str:
    """An annotation, with the functions that ours use. Raises KeyError for a label or value that is not there."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda m: labels[m[1]], text)
    text = re.sub(r'\{\{ printf "(%\.\d[fg])" \$values\.(\w+)\.Value \}\}', lambda m: m[1] % values[m[2]], text)
    text = re.sub(r"\{\{ humanizePercentage \$values\.(\w+)\.Value \}\}", lambda m: f"{100 * values[m[1]]:.4g}%", text)
    text = re.sub(r"\{\{ humanizeDuration \$values\.(\w+)\.Value \}\}", lambda m: f"{values[m[1]]:.0f}s", text)
    assert "{{" not in text, text
    return text
