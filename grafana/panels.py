"""Panels as Grafana's JSON. A panel's title and help are in the texts under its dashboard's name and its own key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from grafana import influxql as q
from grafana.columns import COLUMNS, Column, Steps, code_steps, column_override, mappings, thresholds
from grafana.words import Words
from xomnet.contract.messages import Access

RESULTS_SOURCE, ROLLUPS_SOURCE = "xomnet", "xomnet-rollups"
"""The datasources' uids: what is of the moment, and what is kept for years. They may lead to one database."""
ROLLED = ("_hour", "_day", "_month")
DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `name` is the series' name in a chart: a key of the texts, or a pattern with `$tag_…`."""

    text: str
    name: str = ""
    table: bool = True

    @property
    def source(self) -> str:
        measurement = self.text.rpartition(' FROM "')[2].partition('"')[0]
        return ROLLUPS_SOURCE if measurement.endswith(ROLLED) else RESULTS_SOURCE


@dataclass(frozen=True, slots=True)
class Panel:
    """What a dashboard's module says of a panel; `to_json` makes the JSON of it."""

    key: str
    kind: str
    queries: tuple[Query, ...]
    width: int
    height: int
    columns: tuple[str, ...] = ()
    unit: str = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Mapping[str, Any], ...] = ()
    transformations: tuple[Mapping[str, Any], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    """Column -> where a click on it leads."""
    time_from: str | None = None
    cell: str | None = None

    def to_json(self, dashboard: str, number: int, position: Mapping[str, int], words: Words) -> dict[str, Any]:
        """The panel's JSON. Raises KeyError for a missing text."""
        overrides = [column_override(name, words, self.cell) for name in self.columns] + [
            dict(o) for o in self.overrides
        ]
        for override in overrides:
            if url := self.links.get(override["matcher"]["options"]):
                title = words("links", "open")
                url = url.replace("{language}", words.language)
                override["properties"].append({"id": "links", "value": [{"title": title, "url": url}]})
        panel: dict[str, Any] = {
            "id": number,
            "type": self.kind,
            "title": words("panels", dashboard, self.key, "title"),
            "description": words("panels", dashboard, self.key, "help"),
            "gridPos": dict(position),
            "datasource": _source(self.queries[0].source) if self.queries else _source(RESULTS_SOURCE),
            "targets": [_target(query, letter, words) for query, letter in zip(self.queries, "ABCDEFGH", strict=False)],
            "fieldConfig": {
                "defaults": {"unit": self.unit, "noValue": words("no_data"), **self.defaults},
                "overrides": overrides,
            },
            "options": dict(self.options),
            "transformations": [dict(one) for one in self.transformations],
        }
        if self.time_from is not None:
            panel |= {"timeFrom": self.time_from, "hideTimeOverride": True}
        return panel


def _source(uid: str) -> dict[str, str]:
    return {"type": "influxdb", "uid": uid}


def _target(query: Query, letter: str, words: Words) -> dict[str, Any]:
    name = query.name if "$" in query.name or not query.name else words("series", query.name)
    return {
        "refId": letter,
        "datasource": _source(query.source),
        "rawQuery": True,
        "query": query.text,
        "resultFormat": "table" if query.table else "time_series",
        **({"alias": name} if name else {}),
    }


def columns_in_order(columns: Sequence[str], hidden: Sequence[str] = ("Time",)) -> dict[str, Any]:
    """The transformation that puts columns in order: Grafana gets the tags of a table in any."""
    return {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(hidden, True),
            "indexByName": {name: i for i, name in enumerate(columns)},
            "renameByName": {},
        },
    }


def _make_queries(query: str, within: str | None) -> tuple[Query, ...]:
    return (Query(q.within(query, within) if within else query),)


def stat(
    key: str,
    query: str,
    columns: Sequence[str],
    words: Words,
    width: int = 4,
    *,
    within: str | None = q.NOW,
    time_from: str | None = None,
) -> Panel:
    """Figures large: the first column is what the colour is of. They are of the time `within`; None: of `time_from`
    or what is chosen.
    """
    first = COLUMNS.get(columns[0], Column())
    steps = code_steps(first.codes) if first.codes else first.steps
    return Panel(
        key,
        "stat",
        _make_queries(query, within),
        width,
        4,
        tuple(columns),
        first.unit,
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "vertical",
            "textMode": "auto" if len(columns) == 1 else "value_and_name",
        },
        defaults={"thresholds": thresholds(steps), "mappings": mappings(first.codes, words)},
        transformations=(columns_in_order(columns),),
        time_from=time_from,
    )


def table(
    key: str,
    query: str,
    columns: Sequence[str],
    width: int,
    height: int = 10,
    *,
    sort: Sequence[tuple[str, bool]] = (),
    words: Words,
    links: Mapping[str, str] | None = None,
    within: str | None = q.NOW,
    hidden: Sequence[str] = ("Time",),
) -> Panel:
    """Rows of the time `within`, or of what is chosen; `sort` names columns, with True where the largest come first."""
    return Panel(
        key,
        "table",
        _make_queries(query, within),
        width,
        height,
        tuple(columns),
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": words.column(name), "desc": desc} for name, desc in sort],
            "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
        },
        defaults={"custom": {"align": "auto", "filterable": True, "inspect": False}},
        transformations=(columns_in_order(columns, hidden),),
        links=links or {},
        cell="color-text",
    )


def chart(
    key: str,
    queries: Sequence[Query],
    unit: str,
    width: int,
    height: int = 8,
    *,
    steps: Steps | None = None,
    bars: bool = False,
    points: Sequence[str] = (),
    most: float | None = None,
    gap_s: float = 0,
    overrides: Sequence[Mapping[str, Any]] = (),
    rename: Sequence[tuple[str, str]] = (),
    time_from: str | None = None,
) -> Panel:
    """Values over time. `steps` are drawn as lines too; `points` are the series that are dots, not lines. No line is
    drawn across more than `gap_s` seconds without a value; 0: across any.
    """
    custom: dict[str, Any] = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 1,
        "fillOpacity": 60 if bars else 0,
        "showPoints": "auto",
        "spanNulls": False,
        "insertNulls": int(1000 * gap_s) or False,
        "thresholdsStyle": {"mode": "line" if steps else "off"},
    }
    defaults: dict[str, Any] = {"custom": custom, "min": 0, "color": {"mode": "palette-classic"}}
    if unit == "dBm":
        del defaults["min"]
    if most is not None:
        defaults["max"] = most
    if steps:
        defaults["thresholds"] = thresholds(steps)
    dots = [
        by_name(name, {"custom.drawStyle": "points", "custom.pointSize": 7, "custom.showPoints": "always"})
        for name in points
    ]
    return Panel(
        key,
        "timeseries",
        tuple(queries),
        width,
        height,
        (),
        unit,
        options={
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "asc"},
        },
        defaults=defaults,
        overrides=(*dots, *overrides),
        transformations=tuple(
            {"id": "renameByRegex", "options": {"regex": pattern, "renamePattern": to}} for pattern, to in rename
        ),
        time_from=time_from,
    )


def by_name(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """An override of one series."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def with_access(words: Words) -> list[tuple[str, str]]:
    """Series names that end in an access type say it in words."""
    return [(f"(.*){access}$", f"$1{words.access(access)}") for access in get_args(Access)]


def shares(
    key: str,
    measurement: str,
    words: Words,
    width: int,
    height: int,
    *,
    gap_s: float,
    time_from: str | None = None,
) -> Panel:
    """The share of the lines that meet over time: of the whole province and of the chosen areas, by access."""
    province = q.raw(measurement, ("share",), q.PROVINCE, ("access",))
    areas = q.raw(measurement, ("share",), q.AREAS, ("place", "access"))
    queries = [
        Query(province, words("series", "province") + ", $tag_access", False),
        Query(areas, "$tag_place, $tag_access", False),
    ]
    return chart(
        key,
        queries,
        "percentunit",
        width,
        height,
        most=1,
        gap_s=gap_s,
        rename=with_access(words),
        time_from=time_from,
    )
