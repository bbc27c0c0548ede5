"""What exclusions cost a reader: `python -m bench exclusions`, on SQLite, in seconds of the processor.

Three days of 400 lines: the tests, probes and health of the schedule. Each question is asked of the store itself, of
the store that readers are given without any entry, and with an entry for one unit of 200.
"""

import datetime as dt
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.busy_line import cpu_s
from bench.runs import write
from collector.store import Store
from collector.store.excluding_store import ExcludingStore
from collector.store.exclusions import Exclusion, Exclusions
from collector.store.line_id import LineId
from collector.store.sqlite import SqliteStore
from tests.support.stored import health, latency, speed

UNITS, DAYS, TRIES = 200, 3, 9
END = dt.datetime(2026, 10, 14, tzinfo=dt.UTC)
BEGIN = END - dt.timedelta(days=DAYS)


@dataclass(frozen=True)
class Cost:
    question: str
    raw_s: float
    no_entry_s: float
    one_unit_s: float


def fill(store: Store) -> None:
    for n in range(UNITS):
        for line in (LineId(f"nd-{n:04}", name) for name in ("ftth", "4g")):
            ticks = [BEGIN + dt.timedelta(minutes=5 * tick) for tick in range(DAYS * 288)]
            points = [latency(at, tick, line, rtt_p50_ms=9.0) for tick, at in enumerate(ticks)]
            points += [speed(at, 10_000 + tick, line) for tick, at in enumerate(ticks[::36])]
            points += [health(at, 20_000 + tick, line.agent) for tick, at in enumerate(ticks[::12])]
            store.write(points)


def questions(store: Store) -> dict[str, Callable[[], object]]:
    hour = END - dt.timedelta(hours=1)
    return {
        "tests of three days, all lines": lambda: store.samples(BEGIN, END),
        "latency of an hour, all lines": lambda: store.figures.latency(hour, END),
        "latency of a day, 50 units": lambda: store.figures.latency(
            END - dt.timedelta(days=1), END, [f"nd-{n:04}" for n in range(50)]
        ),
        "last results": lambda: store.last_results(hour),
        "the last health of all": lambda: store.health(BEGIN),
    }


def main(*_: str) -> int:
    entry = Exclusion(
        action="exclude",
        scope="unit",
        agent="nd-0007",
        basis="received",
        since=END - dt.timedelta(hours=6),
        reason="quarantine",
        by="bench",
        at=END,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.db")
        fill(store)
        no_entry, one_unit = Exclusions(), Exclusions([entry])
        stores = (store, ExcludingStore(store, lambda: no_entry), ExcludingStore(store, lambda: one_unit))
        asked = [questions(one) for one in stores]
        costs = [Cost(name, *(cpu_s(of[name], TRIES) for of in asked)) for name in asked[0]]
        store.close()
    lines = [
        "# What exclusions cost a reader",
        "",
        "Written by `python -m bench exclusions`; seconds of the processor.",
    ]
    lines += ["", f"{2 * UNITS} lines, {DAYS} days, SQLite.", ""]
    lines += [
        "| question | the store itself | no entry | ratio | one unit is left out | ratio |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c.question} | {c.raw_s:.4f} | {c.no_entry_s:.4f} | {c.no_entry_s / c.raw_s:.2f} | {c.one_unit_s:.4f} |"
        f" {c.one_unit_s / c.raw_s:.2f} |"
        for c in costs
    ]
    write("exclusions", [asdict(cost) for cost in costs], "\n".join([*lines, ""]))
    return 0
