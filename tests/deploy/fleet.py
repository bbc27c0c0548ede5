"""A province in little: the server, units, the operator's computer with releases and their key."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.deploy.base import base
from tests.deploy.controller import BIN, Controller
from tests.deploy.machines import Machine
from tests.deploy.network import SERVER, run
from tests.deploy.site import ROOT, Site
from tests.support.services import program

HEADER = "agent,line,access,interface,hamlet,area,isp,from\n"
DATABASE = "xomnet"
EMULATED = """\
# The emulator has threads of its own, and Linux gives no program with threads a user namespace: not so on a real board.
[Service]
PrivateUsers=no
"""
STAND_INS = ("influxdb", "nginx-light", "curl")
"""What the tasks in the place of the vendors' install."""
CURL = ("curl", "-sS", "--max-time", "10", "--retry", "20", "--retry-connrefused", "--retry-delay", "1")
"""Waits for a server that is just booting."""
WAITING = """\
import sqlite3
spool = sqlite3.connect("file:/var/lib/xomnet/spool.db?mode=ro", uri=True)
print(*(seq for seq, in spool.execute("SELECT seq FROM results")))
"""


RECORD = """\
import hashlib, json, pathlib, sqlite3
state = pathlib.Path("/var/lib/xomnet-collector")
record = sqlite3.connect(f"file:{state}/record.db?mode=ro", uri=True)
days = {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in (state / "archive").glob("*.day")}
rows = [repr(row) for table in ("exclusions", "closed_month") for row in record.execute(f"SELECT * FROM {table}")]
print(json.dumps([rows, json.loads((state / "registry.json").read_text()), days]))
"""


class Fleet:
    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.release_key, self.release = folder / "release-key", folder / "release"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release", "-f", str(self.release_key)], check=True
        )
        self.backup_key = folder / "backup.key"
        keygen = program("age-keygen")
        run(keygen, "-o", str(self.backup_key))
        self.controller = Controller(
            folder,
            site.folder / "ssh",
            xomnet_release=str(self.release),
            xomnet_release_keys=[self.release_key.with_suffix(".pub").read_text().strip()],
            xomnet_agent_more={
                "clock": {
                    "assume_synced": True
                },  # nspawn's machines have the clock of this computer, which nobody sets
                "health": {"every_s": 5},
                "latency": {"every_s": 5, "echoes": 3, "interval_ms": 20},
            },
            xomnet_backup_recipients=[run(keygen, "-y", str(self.backup_key)).strip()],
            xomnet_ack_s=60,
            xomnet_collector_more={"assess": {"every_s": 5}},
        )
        self.server = self.new_server("hub")
        self.controller.registry.write_text(HEADER)

    def new_server(self, name: str) -> Machine:
        """A bare machine in the server's place; the one before must be off."""
        machine = self.site.machine(name, SERVER)
        self.controller.hosts["server"] = {name: machine}
        return machine

    def new_unit(self, name: str, number: int, behind_nat: bool = False, architecture: str = "amd64") -> Machine:
        """A bare machine with a row in the registry; not started, not enrolled."""
        machine = self.site.machine(name, number, behind_nat, base(architecture, STAND_INS))
        if architecture != "amd64":
            drop_in = machine.root / "etc/systemd/system/xomnet-agent.service.d/emulated.conf"
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text(EMULATED)
        self.controller.hosts["agents"][name] = machine
        with self.controller.registry.open("a") as rows:
            rows.write(f"{name},ftth,fixed,eth0,Xóm {number},Nam Định/Hải Hậu,VNPT,2026-01-01\n")
        return machine

    def make_release(self, source: Path = ROOT, architectures: tuple[str, ...] = ("x86_64",)) -> None:
        """A signed release of a source tree, for every unit."""
        shutil.rmtree(self.release, ignore_errors=True)
        for_machines = [word for one in architectures for word in ("--arch", one)]
        stages = ["--share", "1"]
        self._xomnet(
            "release", "make", str(self.release), "--source", str(source), "--python", "3.11", *for_machines, *stages
        )
        self._xomnet("release", "sign", str(self.release), "--key", str(self.release_key))

    def collector(self, path: str) -> Any:
        """What the collector's REST interface says, asked on the server."""
        return json.loads(self.server.run(*CURL, f"http://127.0.0.1:8420{path}"))

    def stored(self, agent: str, measurement: str = "health") -> int:
        """Results of a unit in the database, read past the product."""
        series = self.query(f"SELECT count(seq) FROM {measurement} WHERE agent='{agent}'")
        return int(series[0]["values"][0][1]) if series else 0

    def points(self, agent: str, measurement: str = "health") -> dict[str, dict[str, Any]]:
        """Results of a unit with all that is stored of them, by their times; read past the product."""
        series = self.query(f"SELECT * FROM {measurement} WHERE agent='{agent}'")
        rows = [dict(zip(one["columns"], row, strict=True)) for one in series for row in one["values"]]
        return {row["time"]: {key: value for key, value in row.items() if value is not None} for row in rows}

    def query(self, query: str) -> list[Any]:
        """The series that the database gives."""
        asked = shlex.quote(f"q={query}")
        text = self.server.run(*CURL, "http://127.0.0.1:8085/query", "-d", f"db={DATABASE}", "--data-urlencode", asked)
        series: list[Any] = json.loads(text)["results"][0].get("series", [])
        return series

    def replay(self) -> Any:
        """What the replay of the archive says of itself."""
        return json.loads(self.server.root_run("runuser -u xomnet -- xomnet replay --json", limit_s=300))

    def record(self) -> Any:
        """What the server has beside its results: exclusions, closed months, the registry's history, sealed days."""
        return json.loads(self.server.root_run(f"python3 - <<'END'\n{RECORD}END\n"))

    def connections(self, agent: str) -> int:
        """How often a unit has connected to the broker that runs."""
        log = "journalctl -u mosquitto.service --no-pager -q; cat /var/log/mosquitto/mosquitto.log"
        said = self.server.root_run(f"({log}) 2>/dev/null | grep -c ' as {agent} ' || true")
        return int(said)

    def token(self, file: str) -> str:
        """What one of the server's files holds."""
        return self.server.root_run(f"cat {file}").strip()

    def may_query(self, token: str) -> bool:
        """Whether the database lets this token read."""
        asked = ("-G", f"http://127.0.0.1:8086/query?db={DATABASE}", "--data-urlencode", "'q=SHOW MEASUREMENTS'")
        return self._status(token, *asked) == 200

    def may_write(self, token: str) -> bool:
        """Whether the database lets this token write. Nothing is written: the body is empty."""
        return self._status(token, "-d", "''", f"'http://127.0.0.1:8086/api/v2/write?bucket={DATABASE}'") < 300

    def _status(self, token: str, *asked: str) -> int:
        said = self.server.run(
            *CURL, "-o", "/dev/null", "-w", "'%{http_code}'", "-H", f"'Authorization: Token {token}'", *asked
        )
        return int(said)

    @staticmethod
    def version(unit: Machine) -> str:
        """The release in force on a unit."""
        return unit.run("readlink", "/opt/xomnet/current").strip().rpartition("/")[2]

    @staticmethod
    def waiting(unit: Machine) -> list[int]:
        """Numbers of the results in a unit's spool, which are not acknowledged yet."""
        return [int(number) for number in unit.root_run(f"python3 - <<'END'\n{WAITING}END\n").split()]

    @staticmethod
    def _xomnet(*arguments: str) -> None:
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        argv = [str(BIN / "xomnet"), *arguments]
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise ChildProcessError(f"xomnet {' '.join(arguments)}: {done.stdout}{done.stderr}")
