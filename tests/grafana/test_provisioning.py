"""The provisioning files fit together, and hold no secret."""

import re
from typing import Any

import pytest
import yaml

from grafana.files import FOLDER
from grafana.panels import RESULTS_SOURCE, ROLLUPS_SOURCE
from grafana.rules import RULES, WATCHDOG
from grafana.words import LANGUAGES

PROVISIONING = FOLDER / "provisioning"
FILES = sorted(PROVISIONING.rglob("*.yaml"))
DOCS = FOLDER.parent / "docs"


def read(name: str) -> Any:
    return yaml.safe_load((PROVISIONING / name).read_text(encoding="utf-8"))


POLICY = read("alerting/policies.yaml")["policies"][0]
RECEIVERS = {point["name"]: point["receivers"] for point in read("alerting/contact-points.yaml")["contactPoints"]}
TEMPLATE = read("alerting/templates.yaml")["templates"][0]["template"]


def routed(severity: str) -> dict[str, Any]:
    """The first route that takes a severity, as Grafana looks for it."""
    for route in POLICY["routes"]:
        for label, operator, value in route["object_matchers"]:
            assert label == "severity"
            if severity == value or (operator == "=~" and re.fullmatch(value, severity)):
                return dict(route)
    raise AssertionError(f"{severity} has no route")


def minutes(duration: str) -> float:
    return int(duration[:-1]) * {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}[duration[-1]]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_one_that_grafana_reads(file: Any) -> None:
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    known = {"datasources", "prune", "providers", "groups", "contactPoints", "policies", "muteTimes", "templates"}
    assert content.pop("apiVersion") == 1
    assert content.keys() <= known
    assert content


def test_the_datasources_are_those_that_the_dashboards_ask() -> None:
    sources = {one["uid"]: one for one in read("datasources/xomnet.yaml")["datasources"]}
    assert sources.keys() == {RESULTS_SOURCE, ROLLUPS_SOURCE}
    for one in sources.values():
        assert (one["type"], one["access"], one["jsonData"]["version"]) == ("influxdb", "proxy", "InfluxQL")
        assert one["secureJsonData"]["httpHeaderValue1"] == "Token $__file{/etc/grafana/xomnet/influx.token}"
    assert sources[RESULTS_SOURCE]["jsonData"]["dbName"] != sources[ROLLUPS_SOURCE]["jsonData"]["dbName"]


def test_no_secret_is_in_git() -> None:
    """What is secret comes from a file or the environment."""
    for file in FILES:
        for line in file.read_text(encoding="utf-8").splitlines():
            found = re.search(r"(?i)(token|password|secret|url|addresses|chatid)\w*:\s+(.+)", line.lstrip("# "))
            assert not found or re.match(r"[\"']?(Token )?\$", found[2]), line


def test_every_variable_of_the_environment_is_explained_in_both_guides() -> None:
    names = {name for file in FILES for name in re.findall(r"\$\{?(XOMNET_\w+)", file.read_text(encoding="utf-8"))}
    assert len(names) >= 5
    for language in LANGUAGES:
        text = (DOCS / f"grafana.{language}.md").read_text(encoding="utf-8")
        assert not [name for name in names if f"`{name}`" not in text]


def test_every_dashboard_folder_is_provisioned() -> None:
    found = {one["options"]["path"] for one in read("dashboards/xomnet.yaml")["providers"]}
    assert found == {f"$XOMNET_GRAFANA/dashboards/{language}" for language in LANGUAGES}


@pytest.mark.parametrize("rule", [*RULES, WATCHDOG], ids=lambda rule: rule.key)
def test_every_alert_has_a_way_to_somebody(rule: Any) -> None:
    route = routed(rule.severity)
    assert route["receiver"] in RECEIVERS
    assert rule.severity == "watchdog" or "alertname" in route["group_by"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_has_a_row_in_the_guide(language: str) -> None:
    rows = re.findall(
        r"^\| `([a-z_]+)` \|", (DOCS / f"grafana.{language}.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert rows == [rule.key for rule in (*RULES, WATCHDOG)]


def test_only_the_watcher_hears_the_dead_mans_switch() -> None:
    route = routed(WATCHDOG.severity)
    assert route["receiver"] == "xomnet-watcher"
    assert minutes(route["repeat_interval"]) < minutes(route["group_interval"]) <= 5, "else every other time"
    assert "mute_time_intervals" not in route
    assert {one["receiver"] for one in POLICY["routes"] if one is not route} >= {"xomnet"}


def test_lines_of_one_area_are_one_message_and_are_not_repeated_within_a_day() -> None:
    route = routed("line")
    assert set(route["group_by"]) == {"alertname", "area"}
    assert minutes(route["group_wait"]) >= 1
    assert minutes(route["repeat_interval"]) >= 1440
    assert "mute_time_intervals" not in route


def test_what_is_muted_at_night_can_wait() -> None:
    named = {one["name"] for one in read("alerting/mute-timings.yaml")["muteTimes"]}
    assert set(routed("unit")["mute_time_intervals"]) == set(routed("data")["mute_time_intervals"]) <= named
    assert "mute_time_intervals" not in routed("system")


def test_the_templates_are_whole_and_used() -> None:
    opened = len(re.findall(r"\{\{-? *(?:define|if|range|with)\b", TEMPLATE))
    assert opened == len(re.findall(r"\{\{-? *end\b", TEMPLATE))
    defined = set(re.findall(r'define "([\w.]+)"', TEMPLATE))
    used = set(re.findall(r'template "([\w.]+)"', (PROVISIONING / "alerting/contact-points.yaml").read_text()))
    assert defined == used
    assert "ExternalURL }}/" not in TEMPLATE.replace('reReplaceAll "/+$" "" $.ExternalURL', ""), "it ends in a slash"
    annotations = set(re.findall(r"\.Annotations\.(\w+)", TEMPLATE))
    assert annotations == {"summary", "description", "check"}
