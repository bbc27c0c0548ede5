"""The alert rules fire for whom they should, say it with figures, and stay calm where they should."""

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from collector.alerts.conditions import CONDITIONS, Condition
from collector.store.points import Point, Value, tags_of, time_ns
from grafana.files import FOLDER
from grafana.panels import RESULTS_SOURCE
from grafana.rules import RULES, WATCHDOG
from tests.grafana.evaluate import DuplicateSeries, Evaluation, evaluate, said
from tests.grafana.seeded import Fields, Seeded, store
from tests.support.services import Influx
from xomnet.states import CODES, LOOKS, State

ALL = {
    rule["uid"].removeprefix("xomnet-"): rule
    for rule in yaml.safe_load((FOLDER / "provisioning/alerting/rules.yaml").read_text(encoding="utf-8"))["groups"][0][
        "rules"
    ]
}
BY_QUERY = [rule.key for rule in RULES]
OF_FIGURES = {"latency", "loss"}
"""Rules of lines that are not about a state: our own alerts have none of them."""


def _stored(influx: Influx, points: list[Point]) -> str:
    name = f"rules-{uuid.uuid4().hex[:12]}"
    store(influx, name, points)
    return name


def _lines(seed: Seeded, wrong: Callable[[Fields], bool]) -> set[tuple[str, ...]]:
    """Lines whose newest state is so and that nobody works on."""
    newest = {(p.tags["agent"], p.tags["line"]): p for p in sorted(seed["line_state"], key=lambda p: p.time_ns)}
    return {
        line
        for line, p in newest.items()
        if wrong(p.fields) and not p.fields["maintenance"] and not p.fields["acknowledged"]
    }


def _in_state(state: State) -> Callable[[Seeded], set[tuple[str, ...]]]:
    return lambda seed: _lines(seed, lambda fields: fields["state"] == state and fields["alert_due"] == 1)


WHO: dict[str, Callable[[Seeded], set[tuple[str, ...]]]] = {
    **{condition.state: _in_state(condition.state) for condition in CONDITIONS},
    "latency": lambda seed: _lines(seed, lambda fields: fields.get("latency_bad") == 1),
    "loss": lambda seed: _lines(seed, lambda fields: fields.get("loss_bad") == 1),
    "gap": lambda seed: {
        (p.tags["agent"], p.tags["line"]) for p in seed["completeness"] if int(p.fields["missing"]) > 0
    },
    "unit": lambda seed: {(p.tags["agent"], "") for p in seed["unit_state"] if p.fields["unhealthy"]},
    "collector": lambda seed: set(),
}


def test_a_line_has_a_rule_for_each_condition_and_none_without() -> None:
    """What people are alerted of does not depend on who sends: Grafana or the collector."""
    of_states = {key for key, rule in ALL.items() if "state_code" in json.dumps(rule["data"])}
    assert of_states == {condition.state for condition in CONDITIONS}
    of_lines = {key for key, rule in ALL.items() if rule["labels"]["severity"] == "line"}
    assert of_lines == of_states | OF_FIGURES


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.state)
def test_a_rule_says_a_condition_as_the_page_does(condition: Condition) -> None:
    rule, look = ALL[condition.state], LOOKS[condition.state]
    assert rule["title"].endswith(look.vi)
    assert rule["annotations"]["summary"].startswith(f"{look.mark} {look.vi} · ")
    assert rule["for"] == condition.grafana.wait


@pytest.mark.parametrize("key", BY_QUERY)
def test_a_rule_fires_for_whom_it_should(key: str, seed: Seeded, influx: Influx, database: str) -> None:
    found = evaluate(ALL[key], influx, database, seed.now)
    assert found.who("agent", "line") == WHO[key](seed)
    assert found.state == ("Normal" if key == "collector" else "Alerting")
    assert False in found.firing.values(), "the others are 0, not absent"


@pytest.mark.parametrize("key", BY_QUERY)
def test_missed_minutes_change_nothing(key: str, seed: Seeded, influx: Influx, database: str) -> None:
    now = seed.now + dt.timedelta(minutes=3)
    assert evaluate(ALL[key], influx, database, now).who("agent", "line") == WHO[key](seed)


@pytest.mark.parametrize("key", [key for key in BY_QUERY if key != "collector"])
def test_a_message_has_its_figures(key: str, seed: Seeded, influx: Influx, database: str) -> None:
    found = evaluate(ALL[key], influx, database, seed.now)
    for labels in [labels for labels, fires in found.firing.items() if fires]:
        values = {name: of[labels] for name, of in found.values.items() if labels in of}
        for text in ALL[key]["annotations"].values():
            assert said(text, dict(labels), values)


def test_a_short_line_says_measured_against_target(seed: Seeded, influx: Influx, database: str) -> None:
    found = evaluate(ALL["short"], influx, database, seed.now)
    labels = next(labels for labels, fires in found.firing.items() if fires)
    line = dict(labels)
    newest = max(
        (p for p in seed["line_state"] if (p.tags["agent"], p.tags["line"]) == (line["agent"], line["line"])),
        key=lambda p: p.time_ns,
    ).fields
    values = {name: of[labels] for name, of in found.values.items() if labels in of}
    text = said(ALL["short"]["annotations"]["description"], line, values)
    assert text.startswith(f"Tải xuống {newest['median_mbps']:.4g} Mb/s, bằng ")
    assert f"% chỉ tiêu ({newest['target_mbps']:.4g} Mb/s)" in text
    assert f"{newest['samples']} phép đo" in text
    assert line["hamlet"] in said(ALL["short"]["annotations"]["summary"], line, values)


def _one_line(seed: Seeded, *then: dict[str, Value]) -> list[Point]:
    """A line that was short, with what changed in the following minutes."""
    was: dict[str, Value] = {"state_code": CODES["short"], "alert_due": 1, "maintenance": 0, "acknowledged": 0}
    start = seed.now - dt.timedelta(minutes=len(then))
    row = seed.rows[0]
    return [
        Point("line_state", tags_of(row, row.line), {**was, **more}, time_ns(start + minute * dt.timedelta(minutes=1)))
        for minute, more in enumerate([{}, *then])
    ]


@pytest.mark.parametrize(
    ("then", "fires"),
    [
        ({}, True),
        ({"state_code": CODES["meeting"]}, False),
        ({"state_code": CODES["uncertain"]}, False),
        ({"state_code": CODES["no_data"]}, False),
        ({"alert_due": 0}, False),
        ({"maintenance": 1}, False),
        ({"acknowledged": 1}, False),
    ],
)
def test_an_alert_ends_by_a_value_not_by_absence(
    then: dict[str, Value], fires: bool, seed: Seeded, influx: Influx
) -> None:
    database = _stored(influx, _one_line(seed, {}, then))
    found = evaluate(ALL["short"], influx, database, seed.now)
    assert list(found.firing.values()) == [fires]


def test_a_dead_collector_is_no_data_and_that_is_an_alert(seed: Seeded, influx: Influx, database: str) -> None:
    later = seed.now + dt.timedelta(minutes=11)
    found = {key: evaluate(ALL[key], influx, database, later).state for key in BY_QUERY if key != "gap"}
    assert set(found.values()) == {"NoData"}
    assert ALL["collector"]["noDataState"] == ALL["collector"]["execErrState"] == "Alerting"
    others = [rule for key, rule in ALL.items() if key not in ("collector", WATCHDOG.key)]
    assert {rule["noDataState"] for rule in others} == {rule["execErrState"] for rule in others} == {"KeepLast"}


def test_the_dead_mans_switch_always_fires(influx: Influx, seed: Seeded) -> None:
    found = evaluate(ALL[WATCHDOG.key], influx, "no such database", seed.now)
    assert found == Evaluation({frozenset(): True}, found.values, "Alerting")


@pytest.mark.parametrize("key", BY_QUERY)
def test_a_rule_can_wait_for_a_missed_minute(key: str) -> None:
    rule = ALL[key]
    look_back = min(n["relativeTimeRange"]["from"] for n in rule["data"] if n["datasourceUid"] == RESULTS_SOURCE)
    assert look_back >= 600
    assert int(rule["for"].removesuffix("m")) >= 2


@pytest.mark.parametrize("key", ALL)
def test_annotations_name_only_what_there_is(key: str) -> None:
    rule = ALL[key]
    text = " ".join(rule["annotations"].values())
    reduced = {node["refId"] for node in rule["data"] if node["model"].get("type") == "reduce"}
    grouped = set(re.findall(r'"(\w+)"', rule["data"][0]["model"].get("query", "").rpartition("GROUP BY")[2]))
    assert set(re.findall(r"\$values\.(\w+)", text)) <= reduced
    assert set(re.findall(r"\$labels\.(\w+)", text)) <= grouped


def test_two_series_with_one_name_are_refused(seed: Seeded, influx: Influx, database: str) -> None:
    rule: dict[str, Any] = {
        "condition": "a",
        "data": [
            {
                "refId": "a",
                "datasourceUid": RESULTS_SOURCE,
                "relativeTimeRange": {"from": 600, "to": 0},
                "model": {
                    "refId": "a",
                    "query": 'SELECT last("lat"), last("lon") FROM "line_state" WHERE $timeFilter GROUP BY "agent"',
                },
            }
        ],
    }
    with pytest.raises(DuplicateSeries):
        evaluate(rule, influx, database, seed.now)
