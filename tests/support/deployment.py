"""A small province of real processes: broker, database, collector, units, measurement server."""

import json
import sqlite3
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.services import Authority, InfluxV2, Mosquitto, Process, free_port

DATABASE = "xomnet"
HEADER = "agent,line,access,hamlet,area,isp,from\n"
ENDLESS = dict.fromkeys(("tests_per_day", "probes_per_day", "events_per_day", "results_per_s", "mb_per_day"), 100_000)
"""A quota for a unit that does in a minute what others do in months."""


class Collector(Process):
    """`python -m collector`, on the InfluxDB given or on SQLite, with a registry of `lines`."""

    def __init__(
        self, folder: Path, broker: dict[str, Any], rows: Sequence[str], influx: InfluxV2 | None = None, **more: Any
    ) -> None:
        port = free_port()
        (folder / "lines.csv").write_text(HEADER + "".join(row + "\n" for row in rows), encoding="utf-8")
        store: dict[str, Any] = {"kind": "sqlite", "path": "store.db"}
        if influx is not None:
            token = folder / "token"
            token.write_text(influx.token)
            token.chmod(0o600)
            store = {"kind": "influx", "url": influx.url, "bucket": DATABASE, "token_file": "token"}
        settings = {
            "broker": broker,
            "client_id": "collector",
            "registry": "lines.csv",
            "state_dir": "state",
            "store": store,
            "web": {"port": port, **more.pop("web", {})},
            "assess": {"every_s": 1, "silent_after_s": 60},
            **more,
        }
        (folder / "collector.yaml").write_text(yaml.safe_dump(settings))
        super().__init__(folder, [sys.executable, "-m", "collector", "--config", "collector.yaml"], port)

    def run_as(self, argv: list[str]) -> None:
        """From the next start on."""
        self._argv = argv

    def get(self, path: str) -> Any:
        """What the REST interface says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer)

    def health(self) -> Any:
        """What `/healthz` says, also where something is not well: just after a start no snapshot was taken yet."""
        try:
            return self.get("/healthz")
        except urllib.error.HTTPError as answer:
            return json.load(answer)

    def metric(self, name: str) -> float:
        """A figure of `/metrics`, summed over its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


class Unit(Process):
    """`python -m agent` with one line `ftth`, tested every few seconds."""

    def __init__(self, folder: Path, name: str, broker: dict[str, Any], server: str, **more: Any) -> None:
        self.name = name
        settings = {
            "agent": name,
            "state_dir": "state",
            "broker": broker,
            "anchors": [server.removeprefix("http://").rstrip("/")],
            "lines": [{"line": "ftth", "access": "fixed", "servers": [server], "every_s": 5}],
            "latency": {"every_s": 1, "echoes": 3, "interval_ms": 10, "timeout_ms": 300},
            "health": {"every_s": 2},
            "clock": {"assume_synced": True},
            "precheck": {"cpu_busy_percent": 100},
            "status_page": {"port": 0},
            **more,
        }
        (folder / "agent.yaml").write_text(yaml.safe_dump(settings))
        super().__init__(folder, [sys.executable, "-m", "agent", "--config", "agent.yaml"], 0)

    def _answers(self) -> bool:
        return (self.folder / "state/spool.db").exists() and "agent runs" in self.output()

    def waiting(self, up_to: int = 2**62) -> int:
        """Results in the spool with numbers up to this one, read past the product.

        An answered result stays until the next commit, so that the newest are seen here though nothing is owed.
        """
        return self._spool(f"SELECT count(*) FROM results WHERE seq <= {up_to}")

    def committed(self) -> int:
        """How many results were ever committed: their numbers have no gaps."""
        return self._spool("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='results'")

    def _spool(self, statement: str) -> int:
        database = sqlite3.connect(f"file:{self.folder}/state/spool.db?mode=ro", uri=True, timeout=5)
        try:
            return int(database.execute(statement).fetchone()[0])
        finally:
            database.close()


class MeasureServer(Process):
    """`python -m measurement_server` at a rate."""

    def __init__(self, folder: Path, rate_mbps: float, *more: str) -> None:
        port = free_port()
        arguments = ["--port", str(port), "--rate", str(rate_mbps), *more]
        super().__init__(folder, [sys.executable, "-m", "measurement_server", *arguments], port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def plain(broker: Mosquitto) -> dict[str, Any]:
    """Settings for a broker without certificates."""
    return {"host": "127.0.0.1", "port": broker.port}


def secured(broker: Mosquitto, authority: Authority, name: str) -> dict[str, Any]:
    """Settings for a broker that knows its clients by their certificates."""
    identity = authority.issue(name)
    tls = {"ca": str(identity.ca), "cert": str(identity.certificate), "key": str(identity.key)}
    return {"host": "localhost", "port": broker.port, "tls": tls}


def until(ready: Callable[[], object], what: str, limit_s: float = 30.0) -> None:
    """Polls until `ready` gives something true. Raises TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit_s:g} s")
        time.sleep(0.1)


def made(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def stored_ids(influx: InfluxV2, agent: str) -> list[tuple[str, int]]:
    """(spool, seq) of every point of a unit in the database, all measurements, read past the product."""
    found: list[tuple[str, int]] = []
    for measurement in ("speed", "latency", "health", "outage", "event"):
        text = influx.query(f"SELECT spool, seq FROM {measurement} WHERE agent='{agent}'", DATABASE)
        for series in json.loads(text)["results"][0].get("series", []):
            found += [(row[1], row[2]) for row in series["values"]]
    return found
