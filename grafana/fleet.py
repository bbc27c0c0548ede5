"""Fleet: which units need a hand, and why, before their lines fall silent."""

from typing import Any

from grafana import influxql as q
from grafana.dashboards import PLACES, TO_LINE, dashboard, link_to
from grafana.panels import Panel, Query, chart, columns_in_order, stat, table
from grafana.words import Words

UNIT = ("agent", "hamlet", "area")
UNIT_FIELDS = (  # the first is always there
    "unhealthy",
    "online",
    "problem",
    "version",
    "age_s",
    "temp_c",
    "throttled",
    "clock_synced",
    "spool_depth",
    "completeness",
    "disk_free_bytes",
)
TO_UNIT = link_to("line", "var-agent=${__data.fields.agent}")
MAX_UNITS = 50


def build(words: Words) -> dict[str, Any]:
    """The dashboard's JSON."""
    return dashboard(
        "fleet",
        words,
        PLACES,
        [
            [
                stat("offline", _sum(("online",), '1 - "online"', "offline"), ("offline", "units"), words),
                stat("unhealthy", _sum(("unhealthy",), '"unhealthy"', "troubled"), ("troubled", "units"), words),
                stat("clock", _sum(("clock_synced",), '1 - "clock_synced"', "unsynced"), ("unsynced", "units"), words),
                stat("spool", _sum(("spool_depth",), '"spool_depth"', "spool_depth"), ("spool_depth",), words),
                stat("completeness", _least("completeness"), ("completeness",), words),
                stat("oldest", _oldest(), ("age_s",), words),
            ],
            [_units(words)],
            [_versions(words), _temperatures(words), _online(words)],
            [_gaps(words), _late(words)],
        ],
        "now-24h",
    )


def _sum(fields: tuple[str, ...], of: str, name: str) -> str:
    """A sum over the units' newest values, and how many units there are."""
    newest = q.last("unit_state", fields, q.CHOSEN_UNITS, ("agent",))
    each = q.select_from(f'{of} AS "{name}"', newest)
    return q.select_from(f'sum("{name}") AS "{name}", count("{name}") AS "units"', each)


def _least(name: str) -> str:
    newest = q.last("unit_state", (name,), q.CHOSEN_UNITS, ("agent",))
    return q.select_from(f'min("{name}") AS "{name}"', newest)


def _oldest() -> str:
    return q.select_from('max("age_s") AS "age_s"', q.last("line_state", ("age_s",), q.CHOSEN))


def _units(words: Words) -> Panel:
    columns = ("problem", *UNIT, *(name for name in UNIT_FIELDS if name not in ("problem", "unhealthy")), "unhealthy")
    return table(
        "units",
        q.last("unit_state", UNIT_FIELDS, q.CHOSEN_UNITS, UNIT),
        columns,
        24,
        13,
        sort=[("unhealthy", True), ("age_s", True)],
        words=words,
        links={"agent": TO_UNIT},
    )


def _versions(words: Words) -> Panel:
    grouped = {
        "id": "groupBy",
        "options": {
            "fields": {
                "version": {"aggregations": [], "operation": "groupby"},
                "agent": {"aggregations": ["count"], "operation": "aggregate"},
            }
        },
    }
    return Panel(
        "versions",
        "barchart",
        (Query(q.within(q.last("unit_state", ("version",), q.CHOSEN_UNITS, ("agent",)), q.NOW)),),
        8,
        8,
        options={
            "xField": "version",
            "orientation": "auto",
            "showValue": "always",
            "stacking": "none",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        transformations=(columns_in_order(("version", "agent")), grouped),
    )


def _temperatures(words: Words) -> Panel:
    return Panel(
        "temperatures",
        "histogram",
        (Query(q.within(q.last("unit_state", ("temp_c",), q.CHOSEN_UNITS, ("agent",)), q.NOW)),),
        8,
        8,
        ("temp_c",),
        "celsius",
        options={
            "bucketSize": 5,
            "bucketOffset": 0,
            "combine": False,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        transformations=(columns_in_order(("temp_c",), ("Time", "agent")),),
    )


def _online(words: Words) -> Panel:
    queries = [
        Query(q.per_interval("collector_state", f'min("{field}")', "$timeFilter"), name, False)
        for field, name in (("units_online", "units_online"), ("units", "units"))
    ]
    return chart("online", queries, "none", 8)


def _gaps(words: Words) -> Panel:
    """Where results are missing, evicted or rejected in the last 30 days."""
    fields = ("missing", "evicted", "rejected", "expected")
    newest = q.last("completeness", fields, q.CHOSEN, (*q.LINE, "hamlet"))
    bad = '"missing" > 0 OR "evicted" > 0 OR "rejected" > 0'
    query = q.select_from(q.quote_names(fields), newest, bad, (*q.LINE, "hamlet"))
    return table(
        "gaps",
        query,
        ("missing", "evicted", "rejected", "hamlet", *q.LINE, "expected"),
        12,
        sort=[("missing", True)],
        words=words,
        within="1h",
    )


def _late(words: Words) -> Panel:
    """The lines whose last result is oldest."""
    newest = q.last("line_state", ("age_s",), q.CHOSEN, q.LINE_TAGS)
    query = q.select_from(f'top("age_s", {MAX_UNITS}) AS "age_s", {q.quote_names(q.LINE_TAGS)}', newest)
    columns = ("age_s", "hamlet", "area", "access", "isp", *q.LINE)
    return table("late", query, columns, 12, sort=[("age_s", True)], words=words, links={"hamlet": TO_LINE})
