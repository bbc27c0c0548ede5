"""Province: how many lines meet their target, where they do not, how it changes."""

from typing import Any

from collector.alerts.conditions import CONDITIONS
from grafana import influxql as q
from grafana.columns import GOOD_FROM_ONE
from grafana.dashboards import PLACES, TO_LINE, dashboard, link_to
from grafana.panels import DAY_S, Panel, Query, chart, columns_in_order, shares, stat, table, with_access
from grafana.words import Words
from xomnet.states import CODES, STATES

TO_AREA = link_to("province", "var-area=${__value.raw:percentencode}", "${access:queryparam}", "${isp:queryparam}")
TO_ISP = link_to("province", "var-isp=${__value.raw:percentencode}", "${access:queryparam}", "${area:queryparam}")

WORST = (
    "state_code",
    "hamlet",
    "area",
    "access",
    "isp",
    "median_mbps",
    "target_mbps",
    "ratio",
    "samples",
    "excluded",
    "age_s",
)
FIGURES = tuple(name for name in WORST if name not in q.LINE_TAGS)
COUNTED = ("lines", *reversed(STATES), "share")


def build(words: Words) -> dict[str, Any]:
    """The dashboard's JSON."""
    return dashboard(
        "province",
        words,
        PLACES,
        [
            [
                stat("fixed", q.STATE.share(f"{q.CHOSEN} AND \"access\" = 'fixed'"), ("share", "judged"), words),
                stat("mobile", q.STATE.share(f"{q.CHOSEN} AND \"access\" = 'mobile'"), ("share", "judged"), words),
                stat("short", q.STATE.counts(q.CHOSEN, "short"), ("short", "lines"), words),
                stat("silent", q.STATE.counts(q.CHOSEN, "silent"), ("silent", "lines"), words),
                _completeness(words),
                stat("bytes", _bytes(), ("bytes",), words, within=None, time_from="now/M"),
            ],
            [_map(), _worst(words)],
            [
                shares("share_by_day", "place_day", words, 12, 10, gap_s=1.5 * DAY_S),
                _by("area", q.BELOW, words, TO_AREA),
            ],
            [_ratio_by_isp(words), _by("isp", q.ISPS, words, TO_ISP)],
            [_trouble(words), _excluded(words)],
        ],
        "now-30d",
    )


def _completeness(words: Words) -> Panel:
    """The mean over lines within the hour, each of which is in it equally often: no line outweighs the others."""
    complete = 'mean("ratio") AS "completeness", max("missing") AS "missing"'
    query = f'SELECT {complete} FROM "completeness" WHERE {q.CHOSEN}'
    return stat("completeness", query, ("completeness", "missing"), words, within="1h")


def _bytes() -> str:
    return f'SELECT sum("bytes") AS "bytes" FROM "line_day" WHERE {q.CHOSEN}'


def _map() -> Panel:
    fields = q.quote_names(("median_mbps", "target_mbps", "ratio", "lat", "lon"))
    query = (
        f'SELECT last("state_code") AS "state_code", "state_code" AS "mark", {fields}'
        f' FROM "line_state" WHERE {q.CHOSEN} GROUP BY {q.quote_names(q.LINE_TAGS)}'
    )
    style = {
        "color": {"field": "state_code", "fixed": "text"},
        "opacity": 0.8,
        "rotation": {"fixed": 0, "max": 360, "min": -360, "mode": "mod"},
        "size": {"fixed": 6, "min": 2, "max": 15},
        "symbol": {"fixed": "img/icons/marker/circle.svg", "mode": "fixed"},
        "text": {"field": "mark", "fixed": "", "mode": "field"},
        "textConfig": {"fontSize": 10, "offsetX": 0, "offsetY": -10, "textAlign": "center", "textBaseline": "middle"},
    }
    layer = {
        "type": "markers",
        "name": "lines",
        "tooltip": True,
        "location": {"mode": "coords", "latitude": "lat", "longitude": "lon"},
        "config": {"showLegend": False, "style": style},
    }
    columns = ("hamlet", "state_code", "median_mbps", "target_mbps", "ratio", "isp", "access", "area", "agent", "line")
    return Panel(
        "map",
        "geomap",
        (Query(q.within(query, q.NOW)),),
        12,
        13,
        (*columns, "mark"),
        options={
            "view": {"id": "fit", "lat": 20.3, "lon": 106.2, "zoom": 9, "allLayers": True, "padding": 10},
            "controls": {"showZoom": True, "mouseWheelZoom": False, "showAttribution": True},
            "basemap": {"type": "default", "name": "basemap", "config": {}},
            "layers": [layer],
            "tooltip": {"mode": "details"},
        },
        transformations=(
            columns_in_order(columns),
            {"id": "sortBy", "options": {"sort": [{"field": "state_code", "desc": True}]}},
        ),
        links={"hamlet": TO_LINE},
    )


def _worst(words: Words) -> Panel:
    """Lines that people are alerted of, the worst state first; of those below their target the furthest below."""
    newest = q.last("line_state", FIGURES, q.CHOSEN, q.LINE_TAGS)
    alerted = " OR ".join(f'"state_code" = {CODES[condition.state]}' for condition in CONDITIONS)
    query = q.select_from(q.quote_names(FIGURES), newest, alerted, q.LINE_TAGS)
    return table(
        "worst",
        query,
        (*WORST, "agent", "line"),
        12,
        13,
        sort=[("state_code", False), ("ratio", False)],
        words=words,
        links={"hamlet": TO_LINE},
    )


def _by(scope: str, where: str, words: Words, link: str) -> Panel:
    """Of places, from their own counts: those of the lines would take seconds."""
    by = ("place", "access")
    return table(
        f"by_{scope}",
        q.last("place_state", COUNTED, where, by),
        (*by, *COUNTED),
        12,
        sort=[("share", False)],
        words=words,
        links={"place": link},
    )


def _ratio_by_isp(words: Words) -> Panel:
    query = q.raw("place_day", ("ratio",), q.ISPS, ("place", "access"))
    queries = [Query(query, "$tag_place, $tag_access", False)]
    return chart(
        "ratio_by_isp",
        queries,
        "percentunit",
        12,
        10,
        steps=GOOD_FROM_ONE,
        gap_s=1.5 * DAY_S,
        rename=with_access(words),
    )


def _trouble(words: Words) -> Panel:
    """Many lines at once: a provider or an area has a fault, not forty hamlets."""
    queries = [
        Query(
            q.per_interval("place_state", f'max("{state}")', q.PROVINCE, ("access",)),
            words.state(state) + ", $tag_access",
            False,
        )
        for state in ("short", "silent")
    ]
    return chart("trouble", queries, "none", 12, 8, rename=with_access(words), time_from="24h")


def _excluded(words: Words) -> Panel:
    """What the days' figures leave out, of the whole province."""
    queries = [Query(q.raw("place_day", ("excluded",), q.PROVINCE, ("access",)), "$tag_access", False)]
    return chart("excluded", queries, "none", 12, 8, bars=True, rename=with_access(words))
