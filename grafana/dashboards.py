"""A dashboard: its panels laid out in rows, its variables, its links to the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana.panels import RESULTS_SOURCE, Panel
from grafana.words import Words
from xomnet.plan import PROVINCE_TIME

GRID_WIDTH = 24
SCHEMA_VERSION = 39
"""Of Grafana 10.3 and 11; later ones take it too and raise it by themselves."""

Rows = Sequence[Sequence[Panel]]


@dataclass(frozen=True, slots=True)
class Variable:
    """A list to choose from. `all_` is the expression that stands for everything; None: one must be chosen."""

    name: str
    query: str
    all_: str | None = ".*"


AREA = Variable("area", 'SHOW TAG VALUES FROM "place_state" WITH KEY = "place" WHERE "scope" = \'area\'', r"[^\/]+")
"""Everything is: each place of the first level, and by IN_AREA whatever is below it."""
ACCESS = Variable("access", 'SHOW TAG VALUES FROM "line_state" WITH KEY = "access"')
ISP = Variable("isp", 'SHOW TAG VALUES FROM "line_state" WITH KEY = "isp"')
HAMLET = Variable(
    "hamlet", r'SHOW TAG VALUES FROM "line_state" WITH KEY = "hamlet" WHERE "area" =~ /^${area:regex}(\/.*)?$/'
)
PLACES = (AREA, ACCESS, ISP, HAMLET)


def dashboard(
    key: str,
    words: Words,
    variables: Sequence[Variable],
    rows: Rows,
    time_from: str,
    *,
    refresh: str = "1m",
    annotations: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The JSON of a dashboard. `rows` are laid out from the top, each from the left, as high as its highest panel."""
    return {
        "uid": uid(key, words),
        "title": words("dashboards", key, "title"),
        "description": words("dashboards", key, "help"),
        "tags": ["xomnet", f"xomnet-{words.language}"],
        "schemaVersion": SCHEMA_VERSION,
        "timezone": PROVINCE_TIME,
        "weekStart": "monday",
        "editable": False,
        "graphTooltip": 1,
        "refresh": refresh,
        "time": {"from": time_from, "to": "now"},
        "timepicker": {"refresh_intervals": ["1m", "5m", "15m", "1h"]},
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "templating": {"list": [_variable(one, words) for one in variables]},
        "annotations": {"list": list(annotations)},
        "links": _links(key, words),
        "panels": _place_panels(key, rows, words),
    }


def uid(key: str, words: Words) -> str:
    return f"xomnet-{key}-{words.language}"


def link_to(key: str, *parts: str) -> str:
    """An address of another dashboard, in the reader's language, that keeps the time range and adds `parts`."""
    return f"/d/xomnet-{key}-{{language}}?" + "&".join(["${__url_time_range}", *parts])


TO_LINE = link_to("line", "var-agent=${__data.fields.agent}", "var-line=${__data.fields.line}", "${area:queryparam}")
"""For tables and maps that have the columns agent and line."""


def _place_panels(key: str, rows: Rows, words: Words) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        left = 0
        for panel in row:
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(panel.to_json(key, len(panels) + 1, place, words))
            left += panel.width
        if left > GRID_WIDTH:
            raise ValueError(f"{key}: a row is {left} wide, {GRID_WIDTH} fit: {[panel.key for panel in row]}")
        top += max(panel.height for panel in row)
    return panels


def _variable(variable: Variable, words: Words) -> dict[str, Any]:
    chosen = {"text": ["All"], "value": ["$__all"], "selected": True} if variable.all_ else {}
    return {
        "name": variable.name,
        "label": words("variables", variable.name),
        "type": "query",
        "datasource": {"type": "influxdb", "uid": RESULTS_SOURCE},
        "query": variable.query,
        "definition": variable.query,
        "refresh": 1,
        "sort": 5,
        "multi": variable.all_ is not None,
        "includeAll": variable.all_ is not None,
        **({"allValue": variable.all_} if variable.all_ else {}),
        "current": chosen,
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def _links(key: str, words: Words) -> list[dict[str, Any]]:
    """To the other dashboards of this language, and to this one in the other, keeping what is chosen."""
    other = "en" if words.language == "vi" else "vi"
    kept = {"keepTime": True, "includeVars": True, "targetBlank": False, "icon": "external link"}
    return [
        {"type": "dashboards", "title": "", "tags": [f"xomnet-{words.language}"], "asDropdown": False, **kept},
        {
            "type": "link",
            "title": words("links", "other_language"),
            "url": f"/d/xomnet-{key}-{other}",
            "tags": [],
            **kept,
        },
    ]
