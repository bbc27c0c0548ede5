"""Every panel of every dashboard asks a real database, and gets what the seeded province says."""

import datetime as dt
import json
import math
from typing import Any

import pytest

from grafana.files import DASHBOARDS, dashboard
from grafana.words import words
from tests.grafana.answers import ANSWERS, Asked, Rows
from tests.grafana.expand import Choice, Span, alls, expand, panel_span
from tests.grafana.seeded import AREAS, ISPS, Seeded
from tests.support.services import Influx

CHOICES: dict[str, Choice] = {
    "all": {},
    "some": {"area": ["Ninh Bình/Hải Hậu", "Hà Nam/Lý Nhân"], "isp": [ISPS[1], ISPS[2], ISPS[3]], "access": ["mobile"]},
    "one": {"area": [AREAS[1]], "isp": [ISPS[2]], "access": ["mobile"], "hamlet": ["Xóm 1/A'", "Xóm 5/A'"]},
}
CASES = [(key, panel) for key in DASHBOARDS for panel in words("vi").table["panels"][key]]
CHOSEN = [(*case, chosen) for case in CASES for chosen in CHOICES if case[0] != "line" or chosen == "all"]


def panel_of(key: str, panel: str) -> dict[str, Any]:
    title = words("vi")("panels", key, panel, "title")
    (found,) = (one for one in dashboard(key, "vi")["panels"] if one["title"] == title)
    return found  # type: ignore[no-any-return]


def of_line(seed: Seeded) -> dict[str, list[str]]:
    return {"agent": [seed.the_line.agent], "line": [seed.the_line.line]}


def rows_of(text: str, with_time: bool) -> Rows:
    """An answer of InfluxDB as rows, without what is null."""
    (result,) = json.loads(text)["results"]
    rows = []
    for series in result.get("series", ()):
        for values in series["values"]:
            row = series.get("tags", {}) | dict(zip(series["columns"], values, strict=True))
            if not with_time:
                del row["time"]
            rows.append({name: value for name, value in row.items() if value is not None})
    return rows


def same(found: Rows, expected: Rows) -> bool:
    """Whatever the order; figures to a millionth."""
    return sorted(map(_key, found)) == sorted(map(_key, expected))


def _key(row: dict[str, Any]) -> str:
    return json.dumps({k: _number(v) for k, v in sorted(row.items())}, ensure_ascii=False)


def _number(value: Any) -> Any:
    if isinstance(value, str) or value == 0:
        return value or 0
    return f"{value:.{6}e}" if math.isfinite(value) else str(value)


@pytest.mark.parametrize(("key", "panel", "chosen"), CHOSEN)
def test_a_panel_gets_what_the_province_says(
    key: str, panel: str, chosen: str, seed: Seeded, influx: Influx, database: str
) -> None:
    built, board = panel_of(key, panel), dashboard(key, "vi")
    when = panel_span(board, built, seed.now)
    the_line = of_line(seed) if key == "line" else {}
    choice = {} if key == "line" else CHOICES[chosen]
    expected = ANSWERS[key, panel]
    assert len(built["targets"]) == len(expected)
    for target, answer in zip(built["targets"], expected, strict=True):
        query = expand(target["query"], {**choice, **the_line}, alls(board), when)
        timed = target["resultFormat"] == "time_series" or "ORDER BY time" in query
        found, wanted = rows_of(influx.query(query, database), timed), answer(Asked(seed, choice, when))
        if target["resultFormat"] == "time_series":
            found, wanted = _one_value(found), _one_value(wanted)
        assert wanted or chosen != "all", "the province says nothing"
        assert same(found, wanted), (query, found[:3], wanted[:3])


def _one_value(rows: Rows) -> Rows:
    """Series have one value each, whatever the database calls it; without what is null."""
    named = ("time", "access", "place")
    found = [{("value" if name not in named else name): value for name, value in row.items()} for row in rows]
    return [row for row in found if "value" in row]


@pytest.mark.parametrize("panel", ["states", "downloads"])
def test_where_a_minute_has_no_state_no_line_is_drawn(panel: str, seed: Seeded, influx: Influx, database: str) -> None:
    """Grafana joins the points that it gets; a null between them is a gap."""
    board, when = dashboard("line", "vi"), Span(seed.now - dt.timedelta(days=2), seed.now)
    query = expand(panel_of("line", panel)["targets"][-1]["query"], of_line(seed), alls(board), when)
    (series,) = json.loads(influx.query(query, database))["results"][0]["series"]
    known = [value is not None for _, value in series["values"]]
    assert not known[0], "the province has states of one day"
    assert all(known[-20:-1])


def test_every_panel_has_its_answer() -> None:
    assert set(ANSWERS) == set(CASES)


@pytest.mark.parametrize("key", DASHBOARDS)
def test_the_variables_offer_what_there_is(key: str, seed: Seeded, influx: Influx, database: str) -> None:
    board = dashboard(key, "vi")
    choice: Choice = {"area": [AREAS[1]], "agent": [seed.the_line.agent]}
    places = {"/".join(area.split("/")[:n]) for area in AREAS for n in range(1, area.count("/") + 2)}
    inside = [row for row in seed.rows if row.area == AREAS[1]]
    expected = {
        "area": places,
        "access": {"fixed", "mobile"},
        "isp": set(ISPS),
        "hamlet": {row.hamlet for row in inside},
        "agent": {row.agent for row in inside},
        "line": {row.line for row in inside if row.agent == seed.the_line.agent},
    }
    for one in board["templating"]["list"]:
        query = expand(one["query"], choice, alls(board), panel_span(board, {}, seed.now))
        (result,) = json.loads(influx.query(query, database))["results"]
        offered = {value for series in result.get("series", ()) for _, value in series["values"]}
        assert offered == expected[one["name"]], one["name"]


def test_a_difference_is_seen(seed: Seeded) -> None:
    when = panel_span(dashboard("province", "vi"), {}, seed.now)
    rows = ANSWERS["province", "by_area"][0](Asked(seed, {}, when))
    assert same(rows, rows[::-1])
    assert not same(rows, [{**rows[0], "short": rows[0]["short"] + 1}, *rows[1:]])
