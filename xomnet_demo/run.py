"""Starts the parts, lets one line go silent and one come back, shows the table, leaves nothing running."""

import csv
import datetime as dt
import getpass
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live

from xomnet.registry.registry import COLUMNS
from xomnet.states import LOOKS
from xomnet_demo.processes import Child, Children, DemoFailed, free_port, listens, mosquitto, wait_for
from xomnet_demo.province import LINES, DemoLine, Fate
from xomnet_demo.table import AlertFeed, screen

MARKER = ".xomnet-demo"
TEST_EVERY_S, LATENCY_EVERY_S, ASSESS_EVERY_S, SILENT_AFTER_S = 6, 5, 1, 15
DAY_S = 86_400
LEAVES_AFTER_S: dict[Fate, float] = {"goes silent": 75.0, "comes back": 40.0}
RETURNS_AFTER_S = 70.0


@dataclass(frozen=True, slots=True)
class InfluxTarget:
    url: str
    token: str
    bucket: str
    org: str


def run(folder: Path, port: int, lines: int, for_s: float | None, influx: InfluxTarget | None) -> int:
    """Runs until Ctrl-C, SIGTERM or `for_s`; returns the exit status."""
    stop = CommandOnce()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.ask())
    console = Console()
    try:
        demo = Demo(_make_folder(folder), port, LINES[:lines], influx)
    except DemoFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    started = time.monotonic()
    try:
        demo.start()
        _show(demo, console, stop, None if for_s is None else started + for_s)
    except DemoFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    finally:
        demo.end()
    console.print("everything has ended; data and logs are in", str(demo.folder), highlight=False)
    return 0


class CommandOnce:
    """Whether somebody asked for the end. A plain flag: a handler that set an event could wait for itself."""

    def __init__(self) -> None:
        self._asked = False

    def ask(self) -> None:
        self._asked = True

    def wait(self, seconds: float) -> bool:
        """True as soon as the end was asked for, False after `seconds`."""
        until = time.monotonic() + seconds
        while not self._asked and time.monotonic() < until:
            time.sleep(0.05)
        return self._asked


def _make_folder(folder: Path) -> Path:
    """An empty folder of ours. Raises DemoFailed rather than touch somebody else's."""
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise DemoFailed(f"{folder} is not empty and not a demonstration's; name another folder with --dir")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return folder


def _show(demo: "Demo", console: Console, stop: "CommandOnce", until: float | None) -> None:
    """The table, every second, until the end; without a terminal, each change as a line."""
    alerts = AlertFeed()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    if live is None:
        console.print(demo.head(), highlight=False, soft_wrap=True)
    else:
        live.start()
    try:
        while not stop.wait(1.0) and (until is None or time.monotonic() < until):
            demo.step()
            lines = demo.lines()
            new = alerts.update(lines, dt.datetime.now().astimezone())
            if live is not None:
                live.update(screen(demo.head(), lines, alerts), refresh=True)
            for sentence in new if live is None else ():
                console.print(sentence, highlight=False, soft_wrap=True)
        if live is None:
            counts = {state: sum(line["state"] == state for line in demo.lines()) for state in LOOKS}
            console.print("at the end: " + ", ".join(f"{n} {LOOKS[s].en.lower()}" for s, n in counts.items() if n))
    finally:
        if live is not None:
            live.stop()


class Demo:
    """The parts and their files, all below `folder`, all on loopback."""

    def __init__(self, folder: Path, port: int, lines: Sequence[DemoLine], influx: InfluxTarget | None) -> None:
        if listens(port):
            raise DemoFailed(f"something listens on port {port} already; name another with --port")
        self.folder, self._port, self._lines, self._influx = folder, port, lines, influx
        (folder / "logs").mkdir()
        self._children = Children(folder / "logs")
        self._broker_port = free_port()
        self._protocol = "5"
        self._servers: dict[float, str] = {}
        self._agents: dict[str, Child | None] = {}
        self._measuring_since: float | None = None
        self._seen: list[dict[str, Any]] = []

    def head(self) -> str:
        data = self.folder if len(str(self.folder)) < 60 else self.folder.name
        return (
            f"xomnet demo   {len(self._lines)} lines · page http://127.0.0.1:{self._port} · data in {data} · "
            "Ctrl-C stops everything"
        )

    def start(self) -> None:
        """Broker, measurement servers, collector, agents. Raises DemoFailed."""
        self._start_broker()
        self._write_registry()
        self._start_servers()
        self._children.python("collector", "-m", "collector", "--config", str(self._write_collector()))
        for agent in dict.fromkeys(line.agent for line in self._lines):
            self._start_agent(agent)
        wait_for(lambda: listens(self._port), f"the page on port {self._port}", self._children)
        self._measuring_since = time.monotonic()

    def end(self) -> None:
        self._children.end_all()

    def step(self) -> None:
        """What fate has for the lines by now. Raises DemoFailed where a part has ended by itself."""
        self._children.check()
        if self._measuring_since is None:
            return
        age_s = time.monotonic() - self._measuring_since
        for line in self._lines:
            if line.fate == "stays":
                continue
            child = self._agents[line.agent]
            leaves, returns = LEAVES_AFTER_S[line.fate], RETURNS_AFTER_S if line.fate == "comes back" else 1e9
            if child is not None and leaves <= age_s < returns:
                self._children.running.remove(child)
                child.process.kill()
                child.process.wait(5)
                self._agents[line.agent] = None
            elif child is None and age_s >= returns:
                self._start_agent(line.agent)

    def lines(self) -> list[dict[str, Any]]:
        """What `GET /api/v1/lines` says; what it said last where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/lines", timeout=2) as answer:
                self._seen = json.load(answer)["lines"]
        except (urllib.error.URLError, TimeoutError, ValueError, ConnectionError):
            pass
        return self._seen

    def _start_broker(self) -> None:
        program = mosquitto()
        if program is None:
            self._protocol = "3.1.1"
            self._children.python("broker", "-m", "xomnet_demo.broker", str(self._broker_port))
        else:
            config = self.folder / "mosquitto.conf"
            rules = [f"listener {self._broker_port} 127.0.0.1", "allow_anonymous true", "max_inflight_messages 1000"]
            # As root, Mosquitto would become another user, and so forget to end with its parent.
            config.write_text("\n".join([*rules, f"user {getpass.getuser()}"]) + "\n")
            self._children.start("broker", [program, "-c", str(config)])
        wait_for(lambda: listens(self._broker_port), "the broker", self._children)

    def _start_servers(self) -> None:
        """A measurement server for each rate; each says its address on its first line."""
        started = []
        for rate in sorted({line.rate_mbps for line in self._lines}):
            arguments = ("--port", "0", "--rate", str(rate))
            name = f"server-{rate:g}"
            child = self._children.python(name, "-m", "measurement_server", *arguments, stdout=subprocess.PIPE)
            started.append((rate, child))
        for rate, child in started:
            assert child.process.stdout is not None
            url = child.process.stdout.readline().decode().strip()
            if not url.startswith("http://"):
                raise DemoFailed(f"{child.name} did not start; its log {child.log} says:\n{child.tail()}")
            self._servers[rate] = url

    def _write_registry(self) -> None:
        with (self.folder / "lines.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.DictWriter(file, COLUMNS)
            rows.writeheader()
            for line in self._lines:
                rows.writerow(
                    {
                        "agent": line.agent,
                        "line": line.line,
                        "access": line.access,
                        "hamlet": line.hamlet,
                        "area": line.area,
                        "lat": line.lat,
                        "lon": line.lon,
                        "isp": line.isp,
                        "plan_mbps": "" if line.plan_mbps is None else line.plan_mbps,
                        "from": "2026-01-01",
                    }
                )

    def _write_collector(self) -> Path:
        store: dict[str, Any] = {"kind": "sqlite", "path": "store.db"}
        if self._influx is not None:
            token = self.folder / "influx-token"
            token.touch(mode=0o600)
            token.write_text(self._influx.token)
            where = {"url": self._influx.url, "org": self._influx.org, "bucket": self._influx.bucket}
            store = {"kind": "influx", "token_file": token.name, **where}
        return self._write(
            "collector.yaml",
            {
                "broker": {"host": "127.0.0.1", "port": self._broker_port, "protocol": self._protocol},
                "registry": "lines.csv",
                "state_dir": "collector",
                "store": store,
                "web": {"port": self._port},
                "quota": {"tests_per_day": DAY_S // TEST_EVERY_S, "probes_per_day": DAY_S // LATENCY_EVERY_S},
                "assess": {"every_s": ASSESS_EVERY_S, "window_hours": 0.05, "silent_after_s": SILENT_AFTER_S},
            },
        )

    def _start_agent(self, agent: str) -> None:
        lines = [line for line in self._lines if line.agent == agent]
        config = self._write(
            f"{agent}.yaml",
            {
                "agent": agent,
                "state_dir": f"agents/{agent}",
                "broker": {"host": "127.0.0.1", "port": self._broker_port, "protocol": self._protocol},
                "anchors": [self._servers[lines[0].rate_mbps].removeprefix("http://").rstrip("/")],
                "lines": [
                    {
                        "line": line.line,
                        "access": line.access,
                        "servers": [self._servers[line.rate_mbps]],
                        "every_s": TEST_EVERY_S,
                        "budget_gb": 1000,
                    }
                    for line in lines
                ],
                "latency": {"every_s": LATENCY_EVERY_S, "interval_ms": 20, "timeout_ms": 500},
                "health": {"every_s": 10},
                "clock": {"assume_synced": True},
                "status_page": {"port": 0},
                # Many units share this machine: its CPU is never idle, which says nothing of a line here.
                "precheck": {"cpu_busy_percent": 100},
            },
        )
        self._agents[agent] = self._children.python(f"agent-{agent}", "-m", "agent", "--config", str(config))

    def _write(self, name: str, settings: dict[str, Any]) -> Path:
        path = self.folder / name
        path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path
