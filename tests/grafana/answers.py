"""What each panel asks, answered from the seeded points without a database: (dashboard, panel) -> an answer a query."""

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from collector.judge.verdict import VERDICTS
from collector.store.points import Point, Value, when
from grafana import fleet, line, province, report
from grafana.influxql import LINE, LINE_TAGS
from tests.grafana.expand import Choice, Span
from tests.grafana.seeded import Seeded
from xomnet.states import CODES

Row = dict[str, Any]
Rows = list[Row]
Answer = Callable[["Asked"], Rows]


class Asked:
    """The seeded points as the variables and the range of a panel choose them."""

    def __init__(self, seed: Seeded, choice: Choice, when: Span) -> None:
        self.seed, self.choice, self.span = seed, choice, when

    def points(self, measurement: str, **tags: str) -> Iterator[Point]:
        """Of the chosen lines or units, within the range; `tags` choose further."""
        for point in self.seed[measurement]:
            inside = self.span.since <= when(point.time_ns) <= self.span.until
            if inside and self._chosen(point) and all(point.tags.get(k) == v for k, v in tags.items()):
                yield point

    def _chosen(self, point: Point) -> bool:
        tags = point.tags
        areas = self.choice.get("area")
        if areas and "area" in tags and not any(f"{tags['area']}/".startswith(f"{area}/") for area in areas):
            return False
        return all(
            tags[name] in self.choice.get(name, [tags[name]]) for name in ("access", "isp", "hamlet") if name in tags
        )

    def places(self, measurement: str, scope: str) -> Iterator[Point]:
        """The province, the chosen areas (of the first level where all are), the chosen providers."""
        for point in self.points(measurement, scope=scope):
            place, chosen = point.tags.get("place", ""), self.choice.get(scope)
            if scope == "all" or (place in (chosen or [place]) and (chosen or scope == "isp" or "/" not in place)):
                yield point

    def below(self, measurement: str) -> Iterator[Point]:
        """The chosen areas and the next level below each; of all, the first two levels."""
        for point in self.points(measurement, scope="area"):
            place, chosen = point.tags["place"], self.choice.get("area")
            parent = place.rpartition("/")[0]
            if (place in chosen or parent in chosen) if chosen else place.count("/") <= 1:
                yield point

    def of_the_line(self, measurement: str) -> list[Point]:
        row = self.seed.the_line
        return list(self.points(measurement, agent=row.agent, line=row.line))


def newest(points: Iterable[Point], fields: Sequence[str], by: Sequence[str]) -> Rows:
    """Of the newest point that has the first field, by tags."""
    found: dict[tuple[str, ...], Row] = {}
    for point in sorted(points, key=lambda point: point.time_ns):
        if fields[0] in point.fields:
            tags = {name: point.tags.get(name, "") for name in by}
            known = {name: point.fields[name] for name in fields if name in point.fields}
            found[tuple(tags.values())] = tags | known
    return list(found.values())


def grouped(rows: Rows, by: Sequence[str]) -> Iterator[tuple[Row, Rows]]:
    found: dict[tuple[str, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in by), []).append(row)
    return ((dict(zip(by, key, strict=True)), members) for key, members in found.items())


def counts(measurement: str, code: str, codes: Mapping[Any, int], only: Sequence[str], **tags: str) -> Answer:
    def answer(asked: Asked) -> Rows:
        rows = newest(asked.points(measurement, **tags), (code,), LINE)
        of = {word: sum(row[code] == codes[word] for row in rows) for word in only}
        return [{"lines": len(rows), **of}] if rows else []

    return answer


SHORT, MEETING = CODES["short"], CODES["meeting"]
VERDICT_CODES = {verdict: code for code, verdict in enumerate(VERDICTS)}
NOT_MET, MET = VERDICTS.index("not_met"), VERDICTS.index("met")


def states(*only: str) -> Answer:
    return counts("line_state", "state_code", CODES, only)


def meeting(access: str) -> Answer:
    def answer(asked: Asked) -> Rows:
        rows = newest(asked.points("line_state", access=access), ("state_code",), LINE)
        judged = [row["state_code"] == MEETING for row in rows if row["state_code"] in (SHORT, MEETING)]
        return [{"share": sum(judged) / len(judged), "judged": len(judged)}] if judged else []

    return answer


def verdicts(access: str) -> Answer:
    return counts("line_month", "verdict_code", VERDICT_CODES, report.SHOWN, access=access)


def below(measurement: str, fields: Sequence[str]) -> Answer:
    return lambda asked: newest(asked.below(measurement), fields, ("place", "access"))


def providers(measurement: str, fields: Sequence[str]) -> Answer:
    return lambda asked: newest(asked.places(measurement, "isp"), fields, ("place", "access"))


def _bars(asked: Asked) -> Rows:
    rows = newest(asked.below("place_month"), report.SHOWN, ("place", "access"))
    return [
        {**place, **{verdict: sum(row[verdict] for row in of) for verdict in report.SHOWN}}
        for place, of in grouped(rows, ("place",))
    ]


def _complete(asked: Asked) -> Rows:
    points = list(asked.points("completeness"))
    ratios = [float(p.fields["ratio"]) for p in points if "ratio" in p.fields]
    most = max((int(p.fields["missing"]) for p in points), default=0)
    return [{"completeness": sum(ratios) / len(ratios), "missing": most}] if ratios else []


def _bytes(asked: Asked) -> Rows:
    return [{"bytes": sum(int(p.fields["bytes"]) for p in asked.points("line_day"))}]


def _map(asked: Asked) -> Rows:
    fields = ("state_code", "median_mbps", "target_mbps", "ratio", "lat", "lon")
    return [{**row, "mark": row["state_code"]} for row in newest(asked.points("line_state"), fields, LINE_TAGS)]


def _worst(asked: Asked) -> Rows:
    rows = newest(asked.points("line_state"), province.FIGURES, LINE_TAGS)
    return [row for row in rows if row["state_code"] in (SHORT, CODES["silent"], CODES["no_data"])]


def every(points: Iterable[Point], field: str, by: Sequence[str] = ()) -> Rows:
    """Each point that has the field, with its time."""
    return [
        {"time": p.time_ns, **{name: p.tags.get(name, "") for name in by}, field: p.fields[field]}
        for p in points
        if field in p.fields
    ]


def places(measurement: str, scope: str, field: str) -> Answer:
    by = ("access",) if scope == "all" else ("place", "access")
    return lambda asked: every(asked.places(measurement, scope), field, by)


def paced(rows: Rows, field: str, of: Callable[[list[Any]], Any], name: str, step_s: int) -> Rows:
    """An aggregate over steps of time, by whatever else a row has."""
    found: dict[tuple[Any, ...], tuple[Row, list[Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["time"])):
        step = row["time"] // (step_s * 10**9) * step_s * 10**9
        rest = {k: v for k, v in row.items() if k not in ("time", field)}
        found.setdefault((step, *rest.values()), ({"time": step, **rest}, []))[1].append(row[field])
    return [{**head, name: of(values)} for head, values in found.values()]


def _trouble(state: str) -> Answer:
    return lambda asked: paced(
        every(asked.places("place_state", "all"), state, ("access",)), state, max, "max", asked.span.interval_s
    )


def line_now(*fields: str) -> Answer:
    return lambda asked: newest(asked.of_the_line("line_state"), fields, ())


def line_every(measurement: str, field: str, keep: Callable[[Point], bool] = lambda point: True) -> Answer:
    return lambda asked: every(filter(keep, asked.of_the_line(measurement)), field)


def line_paced(
    measurement: str, field: str, of: Callable[[list[Any]], Any] = statistics.fmean, name: str = "mean"
) -> Answer:
    return lambda asked: paced(every(asked.of_the_line(measurement), field), field, of, name, asked.span.interval_s)


def _flagged(point: Point) -> bool:
    return point.fields.get("flags", "audit") != "audit"


def _failed(asked: Asked) -> Rows:
    return [{"time": p.time_ns, "seq": 0} for p in asked.of_the_line("speed") if "error" in p.fields]


def _loss(asked: Asked) -> Rows:
    sent, received = (
        paced(every(asked.of_the_line("latency"), name), name, sum, name, asked.span.interval_s)
        for name in ("sent", "received")
    )
    return [
        {"time": a["time"], "sent_received_sent": 100 * (a["sent"] - b["received"]) / a["sent"]}
        for a, b in zip(sent, received, strict=True)
    ]


def _budget(asked: Asked) -> Rows:
    (row,) = newest(asked.of_the_line("speed"), ("budget_used_bytes", "budget_bytes"), ())
    return [{"budget": row["budget_used_bytes"] / row["budget_bytes"]}]


def _tests(asked: Asked) -> Rows:
    return [
        {"time": p.time_ns} | {name: p.fields[name] for name in line.TESTS if name in p.fields}
        for p in asked.of_the_line("speed")
    ]


def units(field: str, of: Callable[[list[Any]], Row]) -> Answer:
    return lambda asked: [of([row[field] for row in newest(asked.points("unit_state"), (field,), ("agent",))])]


def unit_list(*fields: str, by: Sequence[str] = ("agent",)) -> Answer:
    return lambda asked: newest(asked.points("unit_state"), fields, by)


def _online(field: str) -> Answer:
    return lambda asked: paced(every(asked.points("collector_state"), field), field, min, "min", asked.span.interval_s)


def _gaps(asked: Asked) -> Rows:
    fields = ("missing", "evicted", "rejected", "expected")
    rows = newest(asked.points("completeness"), fields, (*LINE, "hamlet"))
    return [row for row in rows if row["missing"] or row["evicted"] or row["rejected"]]


def _late(asked: Asked) -> Rows:
    rows = newest(asked.points("line_state"), ("age_s",), LINE_TAGS)
    return sorted(rows, key=lambda row: -float(row["age_s"]))[: fleet.MAX_UNITS]


def month_lines(code: int) -> Answer:
    def answer(asked: Asked) -> Rows:
        rows = newest(asked.points("line_month"), ("verdict_code", *report.FIGURES), LINE_TAGS)
        return [{k: v for k, v in row.items() if k != "verdict_code"} for row in rows if row["verdict_code"] == code]

    return answer


def oldest(asked: Asked) -> Rows:
    return [{"age_s": max(row["age_s"] for row in newest(asked.points("line_state"), ("age_s",), LINE))}]


def sums(name: str, each: Callable[[Value], Value] = lambda value: value) -> Callable[[list[Any]], Row]:
    return lambda values: {name: sum(map(each, values)), "units": len(values)}


def header(asked: Asked) -> Rows:
    fields = [name for name in line.HEADER if name not in LINE_TAGS]
    return newest(asked.of_the_line("line_state"), fields, LINE_TAGS[2:])


ANSWERS: Mapping[tuple[str, str], Sequence[Answer]] = {
    ("province", "fixed"): [meeting("fixed")],
    ("province", "mobile"): [meeting("mobile")],
    ("province", "short"): [states("short")],
    ("province", "silent"): [states("silent")],
    ("province", "completeness"): [_complete],
    ("province", "bytes"): [_bytes],
    ("province", "map"): [_map],
    ("province", "worst"): [_worst],
    ("province", "share_by_day"): [places("place_day", "all", "share"), places("place_day", "area", "share")],
    ("province", "by_area"): [below("place_state", province.COUNTED)],
    ("province", "ratio_by_isp"): [places("place_day", "isp", "ratio")],
    ("province", "by_isp"): [providers("place_state", province.COUNTED)],
    ("province", "trouble"): [_trouble("short"), _trouble("silent")],
    ("province", "excluded"): [places("place_day", "all", "excluded")],
    ("line", "header"): [header],
    ("line", "ratio"): [line_now("ratio", "median_mbps", "target_mbps")],
    ("line", "samples"): [line_now("samples", "low_mbps", "high_mbps")],
    ("line", "age"): [line_now("age_s")],
    ("line", "budget"): [_budget],
    ("line", "downloads"): [
        line_every("speed", "down_mbps"),
        line_every("speed", "down_mbps", _flagged),
        line_every("speed", "down_mbps", lambda point: point.fields.get("late") is True),
        _failed,
        *(line_paced("line_state", field) for field in ("target_mbps", "median_mbps", "high_mbps", "low_mbps")),
    ],
    ("line", "latency"): [
        line_paced("latency", "rtt_p50_ms"),
        line_paced("latency", "rtt_p95_ms"),
        line_paced("speed", "rtt_loaded_ms"),
    ],
    ("line", "loss"): [_loss],
    ("line", "outages"): [line_paced("outage", "duration_s", sum, "sum")],
    ("line", "signal"): [line_every("speed", "radio_rsrp_dbm"), line_every("speed", "radio_sinr_db")],
    ("line", "states"): [line_paced("line_state", "state_code", lambda values: values[-1], "last")],
    ("line", "days"): [
        line_every("line_day", field) for field in ("p95_mbps", "median_mbps", "p5_mbps", "target_mbps", "excluded")
    ],
    ("line", "bytes"): [line_every("line_day", "bytes")],
    ("line", "tests"): [_tests],
    ("fleet", "offline"): [units("online", sums("offline", lambda online: 1 - int(online)))],
    ("fleet", "unhealthy"): [units("unhealthy", sums("troubled"))],
    ("fleet", "clock"): [units("clock_synced", sums("unsynced", lambda synced: 1 - int(synced)))],
    ("fleet", "spool"): [units("spool_depth", sums("spool_depth"))],
    ("fleet", "completeness"): [units("completeness", lambda values: {"completeness": min(values)})],
    ("fleet", "oldest"): [oldest],
    ("fleet", "units"): [unit_list(*fleet.UNIT_FIELDS, by=fleet.UNIT)],
    ("fleet", "versions"): [unit_list("version")],
    ("fleet", "temperatures"): [unit_list("temp_c")],
    ("fleet", "online"): [_online("units_online"), _online("units")],
    ("fleet", "gaps"): [_gaps],
    ("fleet", "late"): [_late],
    ("report", "fixed"): [verdicts("fixed")],
    ("report", "mobile"): [verdicts("mobile")],
    ("report", "by_area"): [below("place_month", report.COUNTED)],
    ("report", "by_isp"): [providers("place_month", report.COUNTED)],
    ("report", "bars"): [_bars],
    ("report", "not_met"): [month_lines(NOT_MET)],
    ("report", "not_certain"): [month_lines(VERDICTS.index("not_certain"))],
    ("report", "months"): [places("place_month", "all", "share"), places("place_month", "area", "share")],
    ("report", "method"): [],
}
