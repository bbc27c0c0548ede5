"""Line: every download of one line against its target, and what explains it, on one time axis."""

from typing import Any

from grafana import influxql as q
from grafana.columns import AMBER, COLUMNS, GREEN, GREY, RED, mappings, thresholds
from grafana.dashboards import PLACES, Variable, dashboard
from grafana.panels import DAY_S, Panel, Query, by_name, chart, stat, table
from grafana.words import Words
from xomnet.plan import PEAK_HOURS, PROVINCE_TIME

CHOOSE = f"{q.IN_AREA} AND {q.WITH_ACCESS} AND {q.WITH_ISP}"
AGENT = Variable(
    "agent", f'SHOW TAG VALUES FROM "line_state" WITH KEY = "agent" WHERE {CHOOSE} AND {q.IN_HAMLET}', None
)
LINE = Variable(
    "line",
    f'SHOW TAG VALUES FROM "line_state" WITH KEY = "line" WHERE "agent" = \'${{agent}}\' AND {CHOOSE}',
    None,
)

HEADER = (
    "hamlet",
    "area",
    "access",
    "isp",
    "state_code",
    "since_s",
    "maintenance",
    "acknowledged",
    "failed",
    "excluded",
)
TESTS = ("down_mbps", "error", "flags", "rtt_idle_ms", "rtt_loaded_ms", "bytes", "server", "received_ms", "late")
YEAR = "365d"
BARS = {"custom.drawStyle": "bars", "custom.fillOpacity": 40, "custom.axisPlacement": "right", "unit": "none"}
"""Of counts beside speeds."""


def build(words: Words) -> dict[str, Any]:
    """The dashboard's JSON."""
    return dashboard(
        "line",
        words,
        (*PLACES, AGENT, LINE),
        [
            [_header(words)],
            [
                stat(
                    "ratio",
                    _now("ratio", "median_mbps", "target_mbps"),
                    ("ratio", "median_mbps", "target_mbps"),
                    words,
                    7,
                ),
                stat(
                    "samples", _now("samples", "low_mbps", "high_mbps"), ("samples", "low_mbps", "high_mbps"), words, 7
                ),
                stat("age", _now("age_s"), ("age_s",), words, 5),
                stat("budget", _budget(), ("budget",), words, 5, within=None, time_from="now/M"),
            ],
            [_downloads(words)],
            [_latency(words), _loss(words)],
            [_outages(words), _signal(words)],
            [_states(words)],
            [_days(words), _bytes(words)],
            [_tests(words)],
        ],
        "now-7d",
        annotations=[_peak_hours(words)],
    )


def _now(*fields: str) -> str:
    return q.last("line_state", fields, q.THE_LINE, ())


def _header(words: Words) -> Panel:
    fields = [name for name in HEADER if name not in q.LINE_TAGS]
    return table("header", q.last("line_state", fields, q.THE_LINE, q.LINE_TAGS[2:]), HEADER, 24, 3, words=words)


def _budget() -> str:
    parts = q.last("speed", ("budget_used_bytes", "budget_bytes"), q.THE_LINE, ())
    return q.select_from('"budget_used_bytes" / "budget_bytes" AS "budget"', parts)


def _series(words: Words, *path: str) -> str:
    return words("series", *path)


def _downloads(words: Words) -> Panel:
    """Dots are stored tests, whether they count or not: a query can't know what is excluded, but that it came late. The
    band is the 95 % interval of the median, as judged each minute: of the tests that count.
    """
    flagged = '"flags" =~ /[a-z]/ AND "flags" !~ /^audit$/'
    queries = [
        Query(q.raw("speed", ("down_mbps",), q.THE_LINE), "test", False),
        Query(q.raw("speed", ("down_mbps",), f"{flagged} AND {q.THE_LINE}"), "flagged", False),
        Query(q.raw("speed", ("down_mbps",), f'"late" = true AND {q.THE_LINE}'), "late", False),
        Query(f'SELECT 0 * "seq" FROM "speed" WHERE "error" =~ /[a-z]/ AND {q.THE_LINE}', "failed", False),
        *(
            Query(q.per_interval("line_state", f'mean("{field}")', q.THE_LINE), name, False)
            for field, name in (
                ("target_mbps", "target"),
                ("median_mbps", "median"),
                ("high_mbps", "high"),
                ("low_mbps", "low"),
            )
        ),
    ]
    low = _series(words, "low")
    looks = [
        _coloured(_series(words, "test"), GREEN),
        _coloured(_series(words, "flagged"), AMBER),
        _coloured(_series(words, "late"), GREY),
        _coloured(_series(words, "failed"), RED),
        _coloured(_series(words, "target"), RED, **{"custom.lineWidth": 2}),
        _coloured(_series(words, "median"), GREEN, **{"custom.lineWidth": 2, "custom.showPoints": "never"}),
        _coloured(_series(words, "high"), GREY, **{"custom.fillBelowTo": low, "custom.fillOpacity": 20}),
        _coloured(low, GREY),
    ]
    dots = [_series(words, name) for name in ("test", "flagged", "late", "failed")]
    return chart("downloads", queries, "Mbits", 24, 11, points=dots, overrides=looks)


def _coloured(name: str, colour: str, **more: Any) -> dict[str, Any]:
    return by_name(name, {"color": {"mode": "fixed", "fixedColor": colour}, **more})


def _latency(words: Words) -> Panel:
    found = [
        ("latency", "rtt_p50_ms", "rtt_idle"),
        ("latency", "rtt_p95_ms", "rtt_p95"),
        ("speed", "rtt_loaded_ms", "rtt_loaded"),
    ]
    queries = [
        Query(q.per_interval(measurement, f'mean("{field}")', q.THE_LINE), name, False)
        for measurement, field, name in found
    ]
    return chart("latency", queries, "ms", 12, points=[_series(words, "rtt_loaded")], gap_s=DAY_S / 4)


def _loss(words: Words) -> Panel:
    lost = 'sum("sent") AS "sent", sum("received") AS "received"'
    counted = q.per_interval("latency", lost, q.THE_LINE)
    query = f'SELECT 100 * ("sent" - "received") / "sent" FROM ({counted})'
    return chart("loss", [Query(query, "loss", False)], "percent", 12, most=100, bars=True)


def _outages(words: Words) -> Panel:
    query = q.per_interval("outage", 'sum("duration_s")', q.THE_LINE)
    return chart("outages", [Query(query, "outage", False)], "s", 12, bars=True)


def _signal(words: Words) -> Panel:
    queries = [
        Query(q.raw("speed", ("radio_rsrp_dbm",), q.THE_LINE), "rsrp", False),
        Query(q.raw("speed", ("radio_sinr_db",), q.THE_LINE), "sinr", False),
    ]
    decibel = by_name(_series(words, "sinr"), {"unit": "dB", "custom.axisPlacement": "right"})
    return chart("signal", queries, "dBm", 12, overrides=[decibel])


def _states(words: Words) -> Panel:
    look = COLUMNS["state_code"]
    return Panel(
        "states",
        "state-timeline",
        (Query(q.per_interval("line_state", 'last("state_code")', q.THE_LINE), "state", False),),
        24,
        5,
        unit=look.unit,
        options={
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.9,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={
            "mappings": mappings("state", words),
            "thresholds": thresholds(((None, GREY),)),
            "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False},
        },
    )


def _days(words: Words) -> Panel:
    found = [("p95_mbps", "p95"), ("median_mbps", "median"), ("p5_mbps", "p5"), ("target_mbps", "target")]
    left_out = ("excluded", "excluded")
    queries = [Query(q.raw("line_day", (field,), q.THE_LINE), name, False) for field, name in (*found, left_out)]
    looks = [
        _coloured(
            _series(words, "p95"), GREY, **{"custom.fillBelowTo": _series(words, "p5"), "custom.fillOpacity": 20}
        ),
        _coloured(_series(words, "median"), GREEN, **{"custom.lineWidth": 2}),
        _coloured(_series(words, "p5"), GREY),
        _coloured(_series(words, "target"), RED, **{"custom.lineWidth": 2}),
        _coloured(_series(words, "excluded"), AMBER, **BARS),
    ]
    return chart("days", queries, "Mbits", 12, 9, overrides=looks, gap_s=1.5 * DAY_S, time_from=YEAR)


def _bytes(words: Words) -> Panel:
    return chart(
        "bytes", [Query(q.raw("line_day", ("bytes",), q.THE_LINE), "bytes", False)], "decbytes", 12, 9, bars=True
    )


def _tests(words: Words) -> Panel:
    query = q.raw("speed", TESTS, q.THE_LINE) + " ORDER BY time DESC LIMIT 200"
    return table("tests", query, ("Time", *TESTS), 24, 10, words=words, within=None, hidden=())


def _peak_hours(words: Words) -> dict[str, Any]:
    """Shades the peak hours: a line that is good at noon only is not good."""
    first, last = PEAK_HOURS
    return {
        "name": words("series", "peak"),
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": False,
        "iconColor": "rgba(120, 120, 120, 0.25)",
        "target": {
            "refId": "Anno",
            "queryType": "timeRegions",
            "timeRegion": {"from": f"{first}:00", "to": f"{last}:00", "timezone": PROVINCE_TIME},
        },
    }
