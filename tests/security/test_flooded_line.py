"""One line has more results than any schedule gives: its page stays quick, and everything else takes no notice."""

import datetime as dt
import os
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.judge import line_tracker
from collector.judge.assess import MAX_TESTS
from collector.judge.verdict import Month
from collector.report.gather import gather
from collector.rollups.rollups import Rollups
from collector.store import Store
from collector.store.line_id import LineId
from collector.web import create_app, line_page, pages
from collector.web.rest import history
from tests.security.figures import note
from tests.support.deployment import Collector, made, plain, until
from tests.support.flood import AREA, BOTH, WINDOW, flooded_influx, flooded_sqlite, judged
from tests.support.province_fixture import TARGETS, rows
from tests.support.sender import Sender
from tests.support.services import InfluxV2, Mosquitto
from xomnet.registry.registry import Registry
from xomnet.runtime.clock import utc_now

LINE, BESIDE = LineId("nd-a", "ftth"), LineId("nd-b", "ftth")
PAGE = "/lines/nd-a/ftth"
FROM = "from={:%Y-%m-%dT%H:%M:%SZ}"


# --- the event loop waits, it doesn't compute


class Counted:
    """An application whose calls of Python functions, those in the thread of the event loop alone, are counted."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self.calls = app, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        def count(_frame: FrameType, event: str, _argument: object) -> None:
            self.calls += event == "call"

        sys.setprofile(count)
        try:
            await self._app(scope, receive, send)
        finally:
            sys.setprofile(None)


ADDRESSES = [
    PAGE,
    PAGE + "?hours=168",
    "/api/v1/lines/nd-a/ftth/speed?{range}",
    "/api/v1/lines/nd-a/ftth/speed?{range}&format=csv",
    "/api/v1/agents",
    "/api/v1/lines",
    "/",
    "/metrics",
]


def loop_calls(folder: Path, number: int) -> dict[str, int]:
    """What the event loop itself does for each address."""
    store = flooded_sqlite(folder, number)
    calls = {}
    since = FROM.format(utc_now() - WINDOW)
    app = Counted(create_app(judged(folder, store)))
    with TestClient(app) as client:
        for address in ADDRESSES:
            client.get(address.format(range=since))
            app.calls = 0
            answer = client.get(address.format(range=since))
            assert answer.status_code == 200, answer.text
            calls[address] = app.calls
    store.close()
    return calls


def test_the_event_loop_does_no_more_for_many_results_than_for_few(tmp_path: Path) -> None:
    few, many = loop_calls(tmp_path / "few", 50), loop_calls(tmp_path / "many", 4000)
    assert all(calls > 0 for calls in few.values()), "nothing was counted"
    assert {address: calls for address, calls in many.items() if calls > 2 * few[address] + 200} == {}


# --- what is read is bounded


def test_what_is_left_out_of_the_page_is_said_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (line_tracker, line_page, pages):
        monkeypatch.setattr(module, "MAX_TESTS", 500)
    store = flooded_sqlite(tmp_path, 2000)
    with TestClient(create_app(judged(tmp_path, store))) as client:
        whole, cut = (client.get(f"{PAGE}?lang=en&hours={hours}").text for hours in (1, 168))
        assert "only the latest are shown, since" in cut
        assert "500 tests" in cut
        assert "only the latest" not in whole
        assert "chỉ hiển thị các phép đo mới nhất, từ" in client.get(f"{PAGE}?lang=vi&hours=168").text
        beside = client.get("/lines/nd-b/ftth?lang=en&hours=168").text
        assert "only the latest" not in beside
    store.close()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_answer_of_too_many_results_is_refused_and_says_what_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(history, "MAX_RESULTS", 300)
    monkeypatch.setattr(history, "TOO_MANY", 301)
    store = flooded_sqlite(tmp_path, 1000)
    with TestClient(create_app(judged(tmp_path, store))) as client:
        address = f"/api/v1/lines/nd-a/ftth/speed?format={form}&"
        answer = client.get(address + FROM.format(utc_now() - WINDOW))
        assert answer.status_code == 400
        allowed = answer.json()["error"]["allowed"]
        begin = allowed.rpartition(" ")[2].replace("+00:00", "Z")
        again = client.get(f"{address}from={begin}")
        assert again.status_code == 200
        number = len(again.json()["results"]) if form == "json" else again.text.count("\n") - 1
        assert number == 300
    store.close()


# --- the attack


def seconds(client: TestClient, address: str) -> float:
    began = time.monotonic()
    answer = client.get(address)
    took = time.monotonic() - began
    assert answer.status_code == 200, answer.text[:500]
    return took


def shortest(client: TestClient, address: str) -> float:
    """The least time of some tries, as on a machine that does nothing else."""
    took = min(seconds(client, address) for _ in range(4))
    return took / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def either(kind: str, folder: Path, server: InfluxV2, number: int) -> Iterator[Store]:
    if kind == "influx":
        with flooded_influx(server, number) as store:
            yield store
    else:
        file = flooded_sqlite(folder, number)
        yield file
        file.close()


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["sqlite", "influx"])
def test_the_page_of_a_line_with_20_000_tests_takes_less_than_half_a_second(
    tmp_path: Path, influx_v2: InfluxV2, kind: str
) -> None:
    with either(kind, tmp_path, influx_v2, 20_000) as store, TestClient(create_app(judged(tmp_path, store))) as client:
        took = {hours: shortest(client, f"{PAGE}?hours={hours}") for hours in (1, 24, 168, 720)}
    note("page by hours shown, s", {hours: round(s, 3) for hours, s in took.items()})
    assert max(took.values()) < 0.5


@pytest.mark.attack
@pytest.mark.parametrize("kind", ["sqlite", "influx"])
def test_a_line_of_150_000_tests_is_judged_shown_and_reported(tmp_path: Path, influx_v2: InfluxV2, kind: str) -> None:
    with either(kind, tmp_path, influx_v2, 150_000) as store:
        began = time.process_time()
        found = judged(tmp_path, store)
        first_look = time.process_time() - began
        snapshot = found.lines.latest
        assert snapshot is not None
        loud, quiet = snapshot.line(*LINE), snapshot.line(*BESIDE)
        assert loud is not None
        assert quiet is not None
        assert quiet.judgement.state == "meeting"
        assert quiet.judgement.median_mbps == pytest.approx(200, rel=0.1)
        assert len(loud.samples) == MAX_TESTS
        with TestClient(create_app(found)) as client:
            page = shortest(client, PAGE)
    note("first look, s of the processor", round(first_look, 2))
    note("page, s", round(page, 2))
    assert first_look < 10
    assert page < 5


@pytest.mark.attack
def test_the_month_of_a_line_with_150_000_tests_takes_seconds(tmp_path: Path) -> None:
    """Verdict and roll-ups are of all tests, however many: what was reported can be defended."""
    span = dt.timedelta(days=25)
    store = flooded_sqlite(tmp_path, 150_000, span)
    registry, now = Registry(rows(BOTH), TARGETS), utc_now()
    month = Month.of(now - dt.timedelta(days=13))  # the one that has most of them
    began = time.process_time()
    report = gather(store, registry, TARGETS, month, None, now)
    took = time.process_time() - began
    of_line = {one.row.agent: one for one in report.lines}
    note(f"the month of {of_line['nd-a'].verdict.samples} tests, s of the processor", round(took, 2))
    assert of_line["nd-a"].verdict.samples > 60_000
    assert took < 30
    rollups = Rollups(store, lambda: registry, sweep_days=30)
    longest, began = 0.0, time.process_time()
    while rollups.step(now):
        longest, began = max(longest, time.process_time() - began), time.process_time()
    note("longest step of the roll-ups, s of the processor", round(longest, 2))
    assert longest < 30
    store.close()


class Watched:
    """Asks a collector for some addresses again and again, and keeps the longest time of each."""

    def __init__(self, collector: Collector, addresses: list[str], limit_s: float) -> None:
        self._collector, self._addresses, self._limit_s = collector, addresses, limit_s
        self.took: dict[str, list[float]] = {address: [] for address in addresses}
        self.failed: Counter[str] = Counter()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Watched":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(0.05):
            for address in self._addresses:
                began = time.monotonic()
                try:
                    fetch(self._collector, address, self._limit_s)
                except OSError as error:
                    self.failed[f"{address}: {error}"] += 1
                self.took[address].append(time.monotonic() - began)


def fetch(collector: Collector, address: str, limit_s: float) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.port}{address}", timeout=limit_s) as answer:
        content: bytes = answer.read()
        return content


def speed_message(agent: str, seq: int) -> dict[str, Any]:
    data = {"engine": "http", "server": "http://s1.example/", "down_mbps": 200.0}
    ids = {"spool": str(uuid.UUID(int=8)), "boot": str(uuid.UUID(int=1)), "seq": seq}
    head = {"v": 1, "agent": agent, "line": "ftth", "kind": "speed", "at": utc_now().isoformat(), "clock": "synced"}
    return {**head, **ids, "data": data}


@pytest.mark.attack
def test_after_a_restart_and_while_the_page_is_drawn_nobody_else_is_held_up(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    folder = made(tmp_path, "collector")
    flooded_sqlite(folder, 150_000).close()
    lines = [f"{seed.agent},ftth,fixed,{seed.hamlet},{AREA},{seed.isp},2026-01-01" for seed in BOTH]
    every = {"every_s": 2, "silent_after_s": 86_400}
    began = time.monotonic()
    with Collector(folder, plain(mosquitto), lines, assess=every) as collector:

        def lines_now() -> list[dict[str, Any]]:
            try:
                found: list[dict[str, Any]] = collector.get("/api/v1/lines")["lines"]
            except urllib.error.HTTPError:
                return []
            return found

        def tests_of_the_other() -> int:
            return sum(one["samples"] for one in lines_now() if one["agent"] == "nd-b")

        def samples_beyond(number: int) -> bool:
            return tests_of_the_other() > number

        until(lines_now, "the lines are judged after the start", 30)
        note("judged after the start, s", round(time.monotonic() - began, 1))
        sender, judged_after_s = Sender(mosquitto.port), list[float]()
        others = ["/healthz", "/metrics", "/api/v1/lines", "/lines/nd-b/ftth"]
        pages_of_the_line = [PAGE, PAGE + "?hours=720"]
        with Watched(collector, pages_of_the_line, 20) as loud, Watched(collector, others, 10) as beside:
            for seq in range(1, 16):
                for agent in ("nd-a", "nd-b"):
                    sender.send(speed_message(agent, seq), f"xomnet/v1/{agent}/up")
                sent = time.monotonic()
                until(partial(samples_beyond, tests_of_the_other()), "the other line is judged with its new result", 15)
                judged_after_s.append(time.monotonic() - sent)
        sender.close()
    note("a result judged after at most, s", round(max(judged_after_s), 1))
    assert beside.failed == Counter()
    assert loud.failed == Counter()
    for watched in (loud, beside):
        for address, took in watched.took.items():
            note(f"{address}, s", f"median {median(took):.3f}, longest {max(took):.3f} of {len(took)}")
            assert len(took) > 2
    assert max(max(took) for took in beside.took.values()) < 3
    assert max(median(took) for took in beside.took.values()) < 0.5
