"""A province to torment: units, broker, collector, database as processes, with bad links between them."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.chaos.checker import Report, check, read
from tests.chaos.feeder import rss_bytes
from tests.chaos.history import History
from tests.chaos.observer import Witness, write_down_archive, write_down_letters, write_down_points
from tests.chaos.proxy import Proxy
from tests.chaos.shim import Shim
from tests.support.deployment import DATABASE, ENDLESS, Collector, MeasureServer, Unit, made, secured, until
from tests.support.services import Authority, InfluxV2, Mosquitto, Process

ROOT = Path(__file__).parents[2]
WITNESS_RULES = "\nuser witness\ntopic read #\n"
UNIT = "nd-unit"
UNIT_RSS_BYTES, FEEDER_RSS_BYTES, COLLECTOR_RSS_BYTES = 80_000_000, 80_000_000, 256_000_000


class Fragile(Process):
    """A process of ours that can be told to die at a crash point, or to have a bug."""

    _folder_argv: list[str]

    def arm(self, point: str | None) -> None:
        """From the next start on: `name:passes`, or no crash point."""
        self._argv = [*([] if point is None else ["env", f"XOMNET_FAILPOINT={point}"]), *self._folder_argv]

    def died_at(self) -> str | None:
        """The crash point at which it ended last; None where it runs or ended otherwise."""
        if self.running:
            return None
        last = self.output(400).rstrip().rpartition("\n")[2]
        return last.removeprefix("crash at ") if last.startswith("crash at ") else None


class Feeder(Fragile):
    """`python -m tests.chaos.feeder`."""

    def __init__(self, folder: Path, name: str, broker: dict[str, Any], bug: str | None = None, **how: Any) -> None:
        self.name, self.spool_bytes = name, how.get("spool_bytes", 100_000_000)
        if "disk" in how:
            (folder / "state").symlink_to(how["disk"])
        settings = {"agent": name, "broker": broker, "pace": 20.0, "seed": 0, **how}
        (folder / "feeder.json").write_text(json.dumps(settings))
        argv = [sys.executable, "-m", "tests.chaos.feeder", "."]
        if bug is not None:
            argv = [sys.executable, "-m", "tests.chaos.buggy", bug, "feeder", "."]
        super().__init__(folder, argv, 0)
        self._folder_argv = argv

    def quiet(self, quiet: bool) -> None:
        """Whether it commits nothing more."""
        flag = self.folder / "quiet"
        if quiet:
            flag.touch()
        else:
            flag.unlink(missing_ok=True)

    def _answers(self) -> bool:
        ready = self.folder / "ready"
        return ready.exists() and ready.read_text() == str(self.pid)


class FragileCollector(Collector, Fragile):
    def __init__(self, *args: Any, bug: str | None = None, **more: Any) -> None:
        super().__init__(*args, **more)
        if bug is not None:
            self._argv = [sys.executable, "-m", "tests.chaos.buggy", bug, "collector", *self._argv[3:]]
        self._folder_argv = self._argv


class Province:
    """All of them running from its making to `close`. `feeders` maps names to how they feed; see feeder.py.

    The witness watches past the proxies; `history` is what the harness itself saw.
    """

    def __init__(
        self,
        folder: Path,
        feeders: dict[str, dict[str, Any]],
        persistence: bool = False,
        bug: str | None = None,
        unit: bool = False,
        limits: dict[str, Any] | None = None,
        broker_settings: str = "",
    ) -> None:
        self.folder, self._stack = folder, ExitStack()
        try:
            self._make(feeders, persistence, bug, unit, limits or {}, broker_settings)
        except BaseException:
            self.close()
            raise

    def _make(
        self,
        feeders: dict[str, dict[str, Any]],
        persistence: bool,
        bug: str | None,
        unit: bool,
        limits: dict[str, Any],
        broker_settings: str,
    ) -> None:
        folder, enter = self.folder, self._stack.enter_context
        folder.mkdir(parents=True, exist_ok=True)
        self.history = History(folder / "history.jsonl")
        self.authority = authority = Authority(made(folder, "ca"))
        self.broker = Mosquitto(made(folder, "broker"), authority, persistence, broker_settings)
        _quieten(self.broker)
        with (self.broker.folder / "rules.acl").open("a") as rules:
            rules.write(WITNESS_RULES)
        enter(self.broker)
        self.influx = enter(InfluxV2(made(folder, "influx")))
        self.influx.create(DATABASE)
        # a column of another type than the contract's: a result that carries it is refused with 400 by the real thing
        self.influx.write(DATABASE, f'speed budget_bytes="text" {time.time_ns()}')
        self.shim = Shim(self.influx.url)
        self._stack.callback(self.shim.close)
        self.unit_proxy, self.collector_proxy = Proxy(self.broker.port), Proxy(self.broker.port)
        self._stack.callback(self.unit_proxy.close)
        self._stack.callback(self.collector_proxy.close)

        names = [*feeders, *([UNIT] if unit else [])]
        rows = [
            f"{name},{line},{access},Xóm {number},Nam Định/Hải Hậu/Hải Minh,VNPT,1970-01-01"
            for number, name in enumerate(names)
            for line, access in (("ftth", "fixed"), ("4g", "mobile"))
        ]
        self.witness = Witness(secured(self.broker, authority, "witness"), self.history, results="sends" in limits)
        self._stack.callback(self.witness.close)
        keepalive = {"keepalive_s": 5}
        through = {"port": self.collector_proxy.port, **keepalive}
        self.collector = FragileCollector(
            made(folder, "collector"),
            {**secured(self.broker, authority, "collector"), **through},
            rows,
            self.influx,
            bug=bug,
            quota=ENDLESS,
        )
        self._point_at_shim()
        through = {"port": self.unit_proxy.port, **keepalive}
        self.feeders = {
            name: Feeder(made(folder, name), name, {**secured(self.broker, authority, name), **through}, bug, **how)
            for name, how in feeders.items()
        }
        enter(self.collector)
        for feeder in self.feeders.values():
            enter(feeder)
        self.unit = None
        if unit:
            server = enter(MeasureServer(made(folder, "server"), 20))
            credentials = {**secured(self.broker, authority, UNIT), **through}
            self.unit = enter(Unit(made(folder, UNIT), UNIT, credentials, server.url))
        self.history.say(
            "limits",
            clock_error_s=2.0,
            drain_s=limits.pop("drain_s", 120.0),
            spool_bytes={name: feeder.spool_bytes for name, feeder in self.feeders.items()},
            rss_bytes={name: FEEDER_RSS_BYTES for name in self.feeders}
            | {"collector": COLLECTOR_RSS_BYTES, UNIT: UNIT_RSS_BYTES},
            **limits,
        )

    def _point_at_shim(self) -> None:
        file = self.collector.folder / "collector.yaml"
        file.write_text(file.read_text().replace(self.influx.url, self.shim.url))

    def sample(self) -> None:
        """How much memory the processes hold."""
        for name, process in (("collector", self.collector), (UNIT, self.unit)):
            if process is not None and process.running:
                self.history.say("sample", name=name, rss_bytes=rss_bytes(process.pid))

    def committed(self) -> int:
        """Promises so far."""
        return sum(_lines_with(feeder.folder / "history.jsonl", b'"committed"') for feeder in self.feeders.values())

    def waiting(self) -> dict[str, int]:
        """How many results wait in which spool."""
        return {name: len(_in_spool(feeder.folder)) for name, feeder in self.feeders.items()}

    def heal(self) -> None:
        """Ends every fault, starts whatever is dead, and ends the feeding."""
        for proxy in (self.unit_proxy, self.collector_proxy):
            proxy.set("pass")
        self.shim.answer = "pass"
        for process in (self.broker, self.influx, self.collector, *self.feeders.values(), self.unit):
            if isinstance(process, Fragile):
                process.arm(None)
            if process is not None and not process.running:
                process.start()
        for feeder in self.feeders.values():
            feeder.quiet(True)
        self.history.say("healed", at_s=time.monotonic())

    def drain(self, limit_s: float) -> bool:
        """Waits until the spools are empty, or not."""
        try:
            until(lambda: not any(self.waiting().values()), "the spools drain", limit_s)
            if (unit := self.unit) is not None:
                last = unit.committed()
                until(lambda: unit.waiting(last) == 0, "the unit's spool drains", limit_s)
        except TimeoutError:
            return False
        self.history.say("drained", at_s=time.monotonic())
        return True

    def judge(self) -> Report:
        """Writes down what the database, the dead letters and the spools hold, and asks the checker."""
        spools = {name: feeder.folder for name, feeder in self.feeders.items()}
        if self.unit is not None:
            self.unit.stop()
            spools[UNIT] = self.unit.folder
            spool, last = _counted(self.unit.folder)
            self.history.say("counted", agent=UNIT, spool=spool, last_seq=last)
            time.sleep(1)  # what was under way when it stopped
        for name, folder in spools.items():
            for spool, seqs in _grouped(_in_spool(folder)).items():
                self.history.say("waiting", agent=name, spool=spool, seqs=seqs)
        write_down_points(self.influx, list(spools), self.history)
        write_down_letters(self.collector.folder / "state", self.history)
        write_down_archive(self.collector.folder / "state/archive", self.history)
        return check(read(self.histories()))

    def histories(self) -> list[Path]:
        return [self.folder / "history.jsonl", *(one.folder / "history.jsonl" for one in self.feeders.values())]

    def close(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def healed_and_judged(province: Province, limit_s: float = 60.0) -> Report:
    """The end of every scenario."""
    province.heal()
    province.drain(limit_s)
    return province.judge()


def keep(province: Province, name: str) -> Path:
    """Saves the histories of a failure under artifacts/chaos; returns the folder."""
    folder = ROOT / "artifacts/chaos" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in province.histories():
        copy = folder / f"{file.parent.name}.jsonl"
        subprocess.run(["cp", str(file), str(copy)], check=True)
    for process in (province.broker, province.influx, province.collector, *province.feeders.values()):
        (folder / f"{process.folder.name}.log").write_text(process.output(1_000_000))
    return folder


def set_persistence(broker: Mosquitto, persistence: bool) -> None:
    """From its next start on."""
    file = broker.folder / "mosquitto.conf"
    now = f"persistence {str(persistence).lower()}"
    file.write_text(file.read_text().replace("persistence true", now).replace("persistence false", now))


def eventually(condition: Callable[[], object], limit_s: float) -> bool:
    try:
        until(condition, "", limit_s)
    except TimeoutError:
        return False
    return True


def _quieten(broker: Mosquitto) -> None:
    file = broker.folder / "mosquitto.conf"
    file.write_text(file.read_text().replace("log_type all", "log_type warning\nlog_type error"))


def _spool(folder: Path, statement: str) -> list[Any]:
    database = sqlite3.connect(f"file:{folder}/state/spool.db?mode=ro", uri=True, timeout=10)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


def _in_spool(folder: Path) -> list[tuple[str, int]]:
    return _spool(folder, "SELECT (SELECT value FROM meta WHERE key='spool'), seq FROM results")


def _counted(folder: Path) -> tuple[str, int]:
    last = _spool(folder, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='results'")
    return str(_spool(folder, "SELECT value FROM meta WHERE key='spool'")[0][0]), int(last[0][0])


def _grouped(ids: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for spool, seq in ids:
        groups.setdefault(spool, []).append(seq)
    return groups


def _lines_with(file: Path, word: bytes) -> int:
    return file.read_bytes().count(word) if file.exists() else 0
