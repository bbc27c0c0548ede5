"""How each column is shown: its unit, digits and value mappings, once for all tables, stats and charts."""

from dataclasses import dataclass
from typing import Any, get_args

from collector.judge.verdict import VerdictName
from collector.state_points.units import PROBLEMS
from grafana.words import Words
from xomnet.contract.messages import Access
from xomnet.states import CODES, LOOKS, STATES, State

GREEN, AMBER, RED, GREY = (LOOKS[state].colour for state in ("meeting", "uncertain", "short", "silent"))

Steps = tuple[tuple[float | None, str], ...]
"""Colours from a value on; the first value is None."""

PLAIN: Steps = ((None, "text"),)
BAD_FROM_ONE: Steps = ((None, GREEN), (1, RED))
WATCH_FROM_ONE: Steps = ((None, GREEN), (1, AMBER))
GOOD_FROM_ONE: Steps = ((None, RED), (1, GREEN))
"""Of `ratio`: measured over target. The one number that figures are compared with."""
COMPLETE: Steps = ((None, RED), (0.99, AMBER), (1, GREEN))
SHARE: Steps = ((None, RED), (0.8, AMBER), (0.95, GREEN))
"""Of lines that meet. No plan says how many must: the colours only draw the eye."""
HOT: Steps = ((None, GREEN), (75, AMBER), (80, RED))
"""°C. A Raspberry Pi slows down from 80 on."""
OLD: Steps = ((None, "text"), (3600, AMBER), (86400, RED))


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer. `codes` names what its whole numbers stand for."""

    unit: str = "none"
    decimals: int | None = None
    steps: Steps = PLAIN
    codes: str = ""


MBPS = Column("Mbits", 1)
MS = Column("ms", 1)
COUNT = Column("none", 0)
BAD_COUNT = Column("none", 0, BAD_FROM_ONE)

COLUMNS: dict[str, Column] = {
    "Time": Column("dateTimeAsSystem"),
    "state_code": Column(codes="state"),
    "mark": Column(codes="mark"),
    "access": Column(codes="access"),
    "median_mbps": MBPS,
    "low_mbps": MBPS,
    "high_mbps": MBPS,
    "down_mbps": MBPS,
    "target_mbps": MBPS,
    "ratio": Column("percentunit", 0, GOOD_FROM_ONE),
    "share": Column("percentunit", 0, SHARE),
    "completeness": Column("percentunit", 2, COMPLETE),
    "consistency": Column("percentunit", 0),
    "budget": Column("percentunit", 0, ((None, GREEN), (0.8, AMBER), (0.95, RED))),
    "samples": COUNT,
    "days": COUNT,
    "peak_samples": COUNT,
    "lines": COUNT,
    "judged": COUNT,
    "units": COUNT,
    "met": COUNT,
    "not_met": BAD_COUNT,
    "not_certain": Column("none", 0, WATCH_FROM_ONE),
    "unmeasured": COUNT,
    "meeting": COUNT,
    "short": BAD_COUNT,
    "silent": Column("none", 0, ((None, GREEN), (1, GREY))),
    "no_data": COUNT,
    "uncertain": COUNT,
    "not_assessable": COUNT,
    "failed": COUNT,
    "excluded": Column("none", 0, WATCH_FROM_ONE),
    "offline": BAD_COUNT,
    "troubled": BAD_COUNT,
    "unsynced": BAD_COUNT,
    "expected": COUNT,
    "missing": BAD_COUNT,
    "evicted": BAD_COUNT,
    "rejected": BAD_COUNT,
    "age_s": Column("s", 0, OLD),
    "since_s": Column("s", 0),
    "rtt_loaded_ms": MS,
    "rtt_idle_ms": MS,
    "bytes": Column("decbytes", 1),
    "disk_free_bytes": Column("decbytes", 1),
    "temp_c": Column("celsius", 0, HOT),
    "spool_depth": COUNT,
    "online": Column(codes="yes_no"),
    "clock_synced": Column(codes="yes_no"),
    "throttled": Column(codes="bits"),
    "problem": Column("string", codes="problem"),
    "unhealthy": Column(codes="no_yes"),
    "maintenance": Column(codes="flag"),
    "acknowledged": Column(codes="flag"),
    "received_ms": Column("dateTimeAsSystem"),
    "late": Column(codes="late"),
}

VERDICT_MARKS: dict[VerdictName, tuple[State, str]] = {
    "not_met": ("short", "▼"),
    "not_certain": ("uncertain", "◐"),
    "met": ("meeting", "●"),
    "unmeasured": ("silent", "○"),
}


def value_mapping(value: object, text: str, colour: str, index: int) -> tuple[str, dict[str, Any]]:
    """A value of Grafana's value mappings with its text and colour."""
    return str(value), {"text": text, "color": colour, "index": index}


def mappings(codes: str, words: Words) -> list[dict[str, Any]]:
    """Grafana's value mappings: the word with its mark, and the colour that goes with it."""
    match codes:
        case "state":
            options = [value_mapping(CODES[s], words.state(s), LOOKS[s].colour, i) for i, s in enumerate(STATES)]
        case "mark":
            options = [value_mapping(CODES[s], LOOKS[s].mark, LOOKS[s].colour, i) for i, s in enumerate(STATES)]
        case "access":
            options = [value_mapping(a, words.access(a), "text", i) for i, a in enumerate(get_args(Access))]
        case "yes_no":
            options = [value_mapping(0, words("no"), RED, 0), value_mapping(1, words("yes"), GREEN, 1)]
        case "no_yes":
            options = [value_mapping(0, words("no"), GREEN, 0), value_mapping(1, words("yes"), RED, 1)]
        case "bits":
            some = {
                "type": "range",
                "options": {"from": 1, "to": 2**32, "result": {"text": words("yes"), "color": AMBER}},
            }
            return [{"type": "value", "options": dict([value_mapping(0, words("no"), GREEN, 0)])}, some]
        case "problem":
            options = [value_mapping(word, words("problems", word), RED, i) for i, word in enumerate(PROBLEMS)]
        case "flag":
            options = [value_mapping(0, "–", "text", 0), value_mapping(1, words("yes"), AMBER, 1)]
        case "late":
            options = [value_mapping("true", words("yes"), AMBER, 0)]
        case _:
            return []
    return [{"type": "value", "options": dict(options)}]


def thresholds(steps: Steps) -> dict[str, Any]:
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def code_steps(codes: str) -> Steps:
    """The colours of codes as thresholds too, for panels that colour by these."""
    if codes in ("state", "mark"):
        by_code = sorted(STATES, key=CODES.__getitem__)
        return tuple((None if CODES[s] == 0 else float(CODES[s]), LOOKS[s].colour) for s in by_code)
    return PLAIN


def column_override(name: str, words: Words, cell: str | None = None) -> dict[str, Any]:
    """The override of a column: its heading, unit, colours; `cell` is how a table colours it."""
    column = COLUMNS.get(name, Column("string"))
    properties: list[dict[str, Any]] = [
        {"id": "displayName", "value": words.column(name)},
        {"id": "unit", "value": column.unit},
        {"id": "thresholds", "value": thresholds(code_steps(column.codes) if column.codes else column.steps)},
    ]
    if column.decimals is not None:
        properties.append({"id": "decimals", "value": column.decimals})
    if found := mappings(column.codes, words):
        properties.append({"id": "mappings", "value": found})
    if cell is not None and (column.steps != PLAIN or column.codes):
        properties.append({"id": "custom.cellOptions", "value": {"type": cell}})
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}
