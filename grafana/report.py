"""Report: the verdicts of a month, by area and provider, with the lines behind them."""

from typing import Any

from collector.judge.verdict import VERDICTS, VerdictName
from grafana import influxql as q
from grafana.columns import COLUMNS, VERDICT_MARKS
from grafana.dashboards import PLACES, TO_LINE, dashboard
from grafana.panels import DAY_S, Panel, Query, by_name, columns_in_order, shares, stat, table
from grafana.words import Words
from xomnet.states import LOOKS

FIGURES = (
    "median_mbps",
    "low_mbps",
    "high_mbps",
    "target_mbps",
    "ratio",
    "samples",
    "days",
    "peak_samples",
    "failed",
    "excluded",
    "consistency",
)
COUNTED = ("lines", *VERDICTS, "share")
SHOWN: tuple[VerdictName, ...] = ("not_met", "not_certain", "unmeasured", "met")


def build(words: Words) -> dict[str, Any]:
    """The dashboard's JSON."""
    found = dashboard(
        "report",
        words,
        PLACES,
        [
            [_verdicts("fixed", words), _verdicts("mobile", words)],
            [_by("area", q.BELOW, words), _by("isp", q.ISPS, words)],
            [_bars(words)],
            [_lines("not_met", words), _lines("not_certain", words)],
            [
                shares("months", "place_month", words, 16, 9, gap_s=40 * DAY_S, time_from="400d"),
                _method(words),
            ],
        ],
        "now/M",
        refresh="15m",
    )
    found["links"] += [
        _month_link(words, "this_month", "now%2FM", "now"),
        _month_link(words, "last_month", "now-1M%2FM", "now-1M%2FM"),
    ]
    return found


def _month_link(words: Words, key: str, since: str, until: str) -> dict[str, Any]:
    return {
        "type": "link",
        "title": words("links", key),
        "url": f"/d/xomnet-report-{words.language}?from={since}&to={until}",
        "icon": "time",
        "keepTime": False,
        "includeVars": True,
        "targetBlank": False,
        "tags": [],
    }


def _verdicts(access: str, words: Words) -> Panel:
    where = f"{q.CHOSEN} AND \"access\" = '{access}'"
    return stat(access, q.in_month(q.VERDICT.counts(where, *SHOWN)), SHOWN, words, 12, within=None)


def _by(scope: str, where: str, words: Words) -> Panel:
    by = ("place", "access")
    return table(
        f"by_{scope}",
        q.in_month(q.last("place_month", COUNTED, where, by)),
        (*by, *COUNTED),
        12,
        sort=[("share", False)],
        words=words,
        within=None,
    )


def _bars(words: Words) -> Panel:
    looks = [
        by_name(
            verdict,
            {
                "displayName": f"{VERDICT_MARKS[verdict][1]} {words('verdicts', verdict)}",
                "color": {"mode": "fixed", "fixedColor": LOOKS[VERDICT_MARKS[verdict][0]].colour},
            },
        )
        for verdict in SHOWN
    ]
    newest = q.last("place_month", SHOWN, q.BELOW, ("place", "access"))
    sums = ", ".join(f'sum("{verdict}") AS "{verdict}"' for verdict in SHOWN)
    query = q.in_month(q.select_from(sums, newest, by=("place",)))
    return Panel(
        "bars",
        "barchart",
        (Query(query),),
        24,
        9,
        unit=COLUMNS["lines"].unit,
        options={
            "xField": "place",
            "orientation": "auto",
            "showValue": "auto",
            "stacking": "normal",
            "xTickLabelRotation": -45,
            "xTickLabelMaxLength": 24,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "none"},
        },
        overrides=tuple(looks),
        transformations=(columns_in_order(("place", *SHOWN)),),
    )


def _lines(verdict: VerdictName, words: Words) -> Panel:
    newest = q.last("line_month", ("verdict_code", *FIGURES), q.CHOSEN, q.LINE_TAGS)
    code = VERDICTS.index(verdict)
    query = q.in_month(q.select_from(q.quote_names(FIGURES), newest, f'"verdict_code" = {code}', q.LINE_TAGS))
    return table(
        verdict,
        query,
        ("hamlet", "area", "access", "isp", *FIGURES, "agent", "line"),
        12,
        12,
        sort=[("ratio", False)],
        words=words,
        links={"hamlet": TO_LINE},
        within=None,
    )


def _method(words: Words) -> Panel:
    content = words("panels", "report", "method", "text")
    return Panel("method", "text", (), 8, 9, options={"mode": "markdown", "content": content})
