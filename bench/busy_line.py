"""What a line of very many tests costs: `python -m bench busy`, on SQLite, in seconds of the processor.

The window of three days holds that many tests, as if a stolen unit sent without end; a line of the schedule has 24 to
72.
The first look reads and judges both lines of a store; the page is that of the line over seven days; the month is the
verdict of all its tests.
"""

import datetime as dt
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from starlette.testclient import TestClient

from bench.runs import write
from collector.judge.confidence_interval import median_interval
from collector.judge.verdict import Month, verdict_of
from collector.store.line_id import LineId
from collector.web import create_app
from tests.support.flood import flooded_sqlite, judged
from xomnet.runtime.clock import utc_now

NUMBERS = (200, 2000, 20_000, 150_000)
TRIES = 5


@dataclass(frozen=True)
class Cost:
    tests: int
    interval_s: float
    first_look_s: float
    page_s: float
    month_s: float


def cpu_s(work: Callable[[], object], tries: int = TRIES) -> float:
    """The least of some tries."""
    took = []
    for _ in range(tries):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return round(min(took), 5)


def measured(folder: Path, number: int) -> Cost:
    store = flooded_sqlite(folder, number)
    first_look = cpu_s(lambda: judged(Path(tempfile.mkdtemp(dir=folder)), store), 1)
    samples = store.samples(utc_now() - dt.timedelta(days=4), utc_now())[LineId("nd-a", "ftth")]
    values = [one.down_mbps for one in samples if one.down_mbps is not None]
    with TestClient(create_app(judged(Path(tempfile.mkdtemp(dir=folder)), store))) as client:
        page = cpu_s(lambda: client.get("/lines/nd-a/ftth?hours=168").raise_for_status())
    month = Month.of(samples[-1].at)
    cost = Cost(
        number,
        interval_s=cpu_s(lambda: median_interval(values)),
        first_look_s=first_look,
        page_s=page,
        month_s=cpu_s(lambda: verdict_of(samples, 150.0, month, 8, utc_now())),
    )
    store.close()
    return cost


def main(*_: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        costs = [measured(Path(folder) / str(number), number) for number in NUMBERS]
    lines = ["# A line of very many tests", "", "Written by `python -m bench busy`; seconds of the processor.", ""]
    lines += ["| tests in 72 h | interval of the median | first look | page | month |", "|---|---|---|---|---|"]
    lines += [
        f"| {c.tests:,} | {c.interval_s:.5f} | {c.first_look_s:.2f} | {c.page_s:.2f} | {c.month_s:.2f} |" for c in costs
    ]
    few, many = costs[0], costs[2]
    page, look = many.page_s / few.page_s, many.first_look_s / few.first_look_s
    lines += [
        "",
        f"For 20,000 tests the page costs {page:.1f} times as much as for 200, the first look {look:.1f} times.",
        "",
    ]
    write("busy-line", [asdict(cost) for cost in costs], "\n".join(lines))
    return 0
