"""A province of 300 lines over 30 days, as the collector writes it, and the same once more as values to reckon with."""

import datetime as dt
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from zoneinfo import ZoneInfo

from collector.alerts.conditions import BY_STATE
from collector.judge.verdict import VERDICTS, Month
from collector.rollups.aggregate import by_place, day_of, line_point, place_points
from collector.state_points.units import PROBLEMS
from collector.store.points import SCHEMAS, Point, Value, tags_in, tags_of, time_ns
from tests.support.services import Influx
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import LineRow
from xomnet.states import CODES, State

UNITS = 150
DAYS = 30
MINUTES = 12
AREAS = (
    "Ninh Bình/Hải Hậu/Hải Minh",
    "Ninh Bình/Hải Hậu/Hải Đường (cũ)",
    "Ninh Bình/Giao Thủy/Giao Thiện",
    "Hà Nam/Lý Nhân",
)
ISPS = ("VNPT", "Viettel", "FPT (miền Bắc)", "M.Fone+")
STATE_OF: tuple[State, ...] = (
    "meeting",
    "meeting",
    "meeting",
    "short",
    "uncertain",
    "silent",
    "meeting",
    "not_assessable",
    "no_data",
)
ZONE = ZoneInfo(PROVINCE_TIME)
MINUTE = dt.timedelta(minutes=1)

Fields = Mapping[str, Value]


@dataclass(frozen=True)
class Seeded:
    """Everything that was written, by measurement."""

    now: dt.datetime
    rows: tuple[LineRow, ...]
    points: Mapping[str, Sequence[Point]]

    @cached_property
    def the_line(self) -> LineRow:
        """A mobile line with tests, latency, outages and signal of its own."""
        return next(row for row in self.rows if row.access == "mobile")

    def __getitem__(self, measurement: str) -> Sequence[Point]:
        return self.points.get(measurement, ())


def seeded(now: dt.datetime) -> Seeded:
    """The same values for the same minute."""
    now = now.replace(second=0, microsecond=0)
    rows = tuple(_rows())
    points: dict[str, list[Point]] = {}
    for point in _all(now, rows):
        points.setdefault(point.measurement, []).append(point)
    return Seeded(now, rows, points)


def _rows() -> Iterator[LineRow]:
    day = dt.date(2024, 1, 1)
    for unit in range(UNITS):
        agent, hamlet, area = f"nb-{unit:04}", f"Xóm {unit % 20}/A'", AREAS[unit % len(AREAS)]
        lat, lon = 20.1 + unit / 500, 106.0 + unit / 400
        for line, access in (("ftth", "fixed"), ("4g", "mobile")):
            isp = ISPS[(unit + (line == "4g")) % len(ISPS)]
            yield LineRow(agent, line, access, hamlet, area, isp, lat=lat, lon=lon, from_=day)  # type: ignore[arg-type]


def _all(now: dt.datetime, rows: Sequence[LineRow]) -> Iterator[Point]:
    dice = random.Random(7)
    for ago in range(MINUTES):
        yield from _minute(now - ago * MINUTE, rows, dice, shift=1 + (ago > 4))
    first_mobile = next(row for row in rows if row.access == "mobile")
    for ago in range(MINUTES, 24 * 60, 10):
        at = now - ago * MINUTE
        yield _line_state(at, first_mobile, 1, dice, shift=2)
        counts: dict[str, Value] = {"lines": 150, "short": ago % 17, "silent": ago % 5}
        for access in ("fixed", "mobile"):
            yield Point("place_state", {"scope": "all", "access": access}, counts, time_ns(at))
        yield Point("collector_state", {}, {"up": 1, "units": UNITS, "units_online": UNITS - ago % 9}, time_ns(at))
    yield from _completeness(now, rows, dice)
    yield from _days(now, rows, dice)
    yield from _months(now, rows, dice)
    yield from _of_the_line(now, first_mobile, dice)


def _minute(at: dt.datetime, rows: Sequence[LineRow], dice: random.Random, shift: int) -> Iterator[Point]:
    points = [_line_state(at, row, i, dice, shift) for i, row in enumerate(rows)]
    yield from points
    for tags, codes in by_place((row, int(p.fields["state_code"])) for row, p in zip(rows, points, strict=True)):
        counts: dict[str, Value] = {state: codes.count(code) for state, code in CODES.items()}
        yield Point("place_state", tags, {"lines": len(codes), **counts}, time_ns(at))
    units = rows[::2]
    for i, row in enumerate(units):
        yield Point("unit_state", tags_of(row, None), _unit(i, dice), time_ns(at))
    yield Point("collector_state", {}, {"up": 1, "units": UNITS, "units_online": UNITS - 10}, time_ns(at))


def _line_state(at: dt.datetime, row: LineRow, number: int, dice: random.Random, shift: int) -> Point:
    """Of all lines in different states; `shift` gives each another one."""
    state = STATE_OF[(number * 7 + shift) % len(STATE_OF)]
    target = 100.0 if number % 23 == 0 else 150.0 if row.access == "fixed" else 70.0
    ratio = {"meeting": 1.0, "short": 0.3}.get(state, 0.7) + dice.random() / 2
    fields: dict[str, Value] = {
        "state": state,
        "state_code": CODES[state],
        "samples": number % 30,
        "target_mbps": target,
        "since_s": 3600.0 * number,
        "failed": number % 3,
        "excluded": number % 4,
        "maintenance": int(number % 10 == 3),
        "acknowledged": int(number % 11 == 4),
        "alert_due": int(state in BY_STATE and number % 7 != 2),
        "lat": row.lat or 0.0,
        "lon": row.lon or 0.0,
    }
    if state != "no_data":
        fields["age_s"] = dice.uniform(0, 600) + 5000 * (state == "silent")
    if state not in ("not_assessable", "no_data"):
        median = ratio * target
        fields |= {"median_mbps": median, "ratio": ratio, "low_mbps": 0.9 * median, "high_mbps": 1.1 * median}
    if state not in ("silent", "no_data"):
        fields |= {"rtt_ms": 20.0 + number, "loss_percent": number % 7 / 2}
        fields |= {"latency_bad": int(number % 40 == 0), "loss_bad": int(number % 50 == 1)}
    return Point("line_state", tags_of(row, row.line), fields, time_ns(at))


def _unit(number: int, dice: random.Random) -> dict[str, Value]:
    troubled = number % 12 == 5
    fields: dict[str, Value] = {
        "online": int(number % 15 != 4),
        "unhealthy": int(troubled),
        "version": f"1.0.{number % 3}",
        "age_s": dice.uniform(0, 300),
        "temp_c": 40.0 + number % 45,
        "throttled": number % 2 * 0x50000,
        "clock_synced": int(number % 30 != 7),
        "disk_free_bytes": 10**9 + number,
        "spool_depth": number % 4,
        "completeness": 1.0 - number % 6 / 1000,
    }
    return fields | {"problem": PROBLEMS[number % len(PROBLEMS)]} if troubled else fields


def _completeness(now: dt.datetime, rows: Sequence[LineRow], dice: random.Random) -> Iterator[Point]:
    for ago in (5, 15, 25):
        for i, row in enumerate(rows):
            missing, expected = (2 if i % 60 == 9 else 0), dice.randint(5000, 9000)
            fields: dict[str, Value] = {"expected": expected, "stored": expected - missing, "missing": missing}
            fields |= {"rejected": 0, "evicted": int(i % 90 == 8), "ratio": 1 - missing / expected}
            yield Point("completeness", tags_of(row, row.line), fields, time_ns(now - ago * MINUTE))


def _days(now: dt.datetime, rows: Sequence[LineRow], dice: random.Random) -> Iterator[Point]:
    for ago in range(DAYS):
        day = day_of(now - dt.timedelta(days=ago), ZONE)
        lines: list[tuple[LineRow, Fields]] = []
        for i, row in enumerate(rows):
            fields: dict[str, Value] = {"tests": 6, "counted": 6, "failed": 0, "bytes": dice.randint(10**8, 10**9)}
            fields |= {"probes": 288, "outages": 0, "outage_s": 0.0, "target_mbps": 150.0, "excluded": (i + ago) % 3}
            if (i + ago) % 13:
                ratio = dice.uniform(0.6, 1.6)
                fields |= {"ratio": ratio, "median_mbps": 150 * ratio, "p5_mbps": 100 * ratio, "p95_mbps": 170 * ratio}
            lines.append((row, fields))
            yield line_point(day, row, fields)
        yield from place_points(day, lines)


def _months(now: dt.datetime, rows: Sequence[LineRow], dice: random.Random) -> Iterator[Point]:
    month = Month.of(now)
    for ago in range(3):
        since = month.since()
        codes = [dice.randrange(len(VERDICTS)) for _ in rows]
        for row, code in zip(rows, codes, strict=True):
            yield Point("line_month", tags_of(row, row.line), _verdict(code, dice), time_ns(since))
        for tags, of in by_place(zip(rows, codes, strict=True)):
            counts: dict[str, Value] = {name: of.count(i) for i, name in enumerate(VERDICTS)}
            decided = of.count(VERDICTS.index("met")) + of.count(VERDICTS.index("not_met"))
            share: dict[str, Value] = {"share": of.count(VERDICTS.index("met")) / decided} if decided else {}
            yield Point("place_month", tags, {"lines": len(of), **counts, **share}, time_ns(since))
        month = month.previous
        assert ago < 3


def _verdict(code: int, dice: random.Random) -> dict[str, Value]:
    fields: dict[str, Value] = {"verdict": VERDICTS[code], "verdict_code": code, "samples": dice.randint(0, 200)}
    fields |= {"days": 20, "peak_samples": 40, "failed": 1, "excluded": 2, "target_mbps": 150.0}
    if VERDICTS[code] != "unmeasured":
        median = dice.uniform(80, 250)
        fields |= {"median_mbps": median, "low_mbps": median - 9, "high_mbps": median + 9, "ratio": median / 150}
        fields |= {"consistency": dice.random()}
    return fields


def _of_the_line(now: dt.datetime, row: LineRow, dice: random.Random) -> Iterator[Point]:
    tags = tags_of(row, row.line)
    for n in range(7 * 8):
        at = now - dt.timedelta(hours=3 * n, minutes=7)
        fields: dict[str, Value] = {"seq": n + 1, "engine": "http", "server": "http://s.example/", "bytes": 40_000_000}
        fields |= {"budget_used_bytes": 4_000_000_000 - n * 40_000_000, "budget_bytes": 5_000_000_000}
        fields |= {
            "radio_rsrp_dbm": -110.0 + n % 9,
            "radio_sinr_db": 3.5,
            "rtt_idle_ms": 30.0,
            "rtt_loaded_ms": 90.0 + n,
        }
        fields["received_ms"] = time_ns(at) // 1_000_000 + 2000
        if n % 8 == 3:
            fields |= {"late": True}
        if n % 9 == 2:
            fields |= {"error": "stalled"}
        else:
            fields |= {"down_mbps": dice.uniform(30, 90)}
        if n % 4 == 1:
            fields |= {"flags": "weak_radio,audit"}
        elif n % 4 == 2:
            fields |= {"flags": "audit"}
        yield Point("speed", tags, fields, time_ns(at))
    for n in range(7 * 24 * 4):
        at = now - dt.timedelta(minutes=15 * n, seconds=11)
        fields = {"seq": n + 1, "sent": 20, "received": 20 - n % 3, "loss_percent": 5.0 * (n % 3)}
        fields |= {"rtt_p50_ms": 25.0 + n % 10, "rtt_p95_ms": 60.0 + n % 10}
        yield Point("latency", tags, fields, time_ns(at))
    for n in range(5):
        at = now - dt.timedelta(hours=20 * n, minutes=1)
        yield Point("outage", tags, {"seq": n + 1, "duration_s": 60.0 * (n + 1), "failed_probes": 3}, time_ns(at))


def store(influx: Influx, database: str, points: Sequence[Point]) -> None:
    """Writes points as the schemas say that they are. Raises AssertionError for one that the collector can't write."""
    influx.create(database)
    for start in range(0, len(points), 10_000):
        influx.write(database, "\n".join(_record(point) for point in points[start : start + 10_000]))


def _record(point: Point) -> str:
    schema = SCHEMAS[point.measurement]
    assert point.fields.keys() <= schema.keys(), point
    assert point.tags.keys() <= set(tags_in(point.measurement)), point
    tags = "".join(f",{name}={_escaped(value)}" for name, value in sorted(point.tags.items()))
    fields = ",".join(f"{name}={_typed(value, schema[name])}" for name, value in point.fields.items())
    return f"{point.measurement}{tags} {fields} {point.time_ns}"


def _escaped(tag: str) -> str:
    return tag.replace(" ", "\\ ").replace(",", "\\,").replace("=", "\\=")


def _typed(value: Value, kind: type) -> str:
    assert type(value) is kind, (value, kind)
    return f"{value}i" if kind is int else json.dumps(value, ensure_ascii=False) if kind is str else repr(value)
