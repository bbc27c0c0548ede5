"""What was said on the wire and what the database holds, as seen by clients that are none of the product's."""

import datetime as dt
import json
import re
import shutil
import tempfile
import threading
from collections import deque
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from collector.archive import read_records
from collector.archive.sealing import days_to_seal, seal
from tests.chaos.history import History
from tests.support.deployment import DATABASE
from tests.support.services import Influx

Id = tuple[str, str, int]

TAGS = ("agent", "line", "access", "isp", "hamlet", "area")
MEASUREMENTS = ("speed", "latency", "health", "outage", "event")
LAST_ACKS = 200
TOKEN = re.compile(rb"tok-[0-9a-f]{32}")


class Witness:
    """Hears acks, as long as the broker lives; writes them down; remembers the last ones. On demand it hears results
    too. (Where it does, the broker never says `no matching subscribers`, which is a way of its own.)
    """

    def __init__(self, broker: dict[str, Any], history: History, results: bool = False) -> None:
        self._history = history
        self._acks: deque[Id] = deque(maxlen=LAST_ACKS)
        self._heard = threading.Condition()
        self.acked = 0
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="witness", protocol=paho.MQTTv5)
        if "tls" in broker:
            self._client.tls_set(broker["tls"]["ca"], broker["tls"]["cert"], broker["tls"]["key"])
        self._client.reconnect_delay_set(1, 1)
        channels = ("ack", "up") if results else ("ack",)
        self._client.on_connect = lambda client, *_: client.subscribe([(f"xomnet/v1/+/{c}", 1) for c in channels])
        self._client.on_message = lambda _c, _u, message: self._hear(message.topic, bytes(message.payload))
        self._client.connect(broker["host"], broker["port"], keepalive=10)
        self._client.loop_start()

    def last_acks(self, timeout_s: float) -> list[Id]:
        """Waits for the next ack, then gives the last ones at once; none where no ack came in time."""
        with self._heard:
            before = self.acked
            if not self._heard.wait_for(lambda: self.acked > before, timeout_s):
                return []
            return list(self._acks)

    def quiet(self, for_s: float) -> list[Id]:
        """Waits until no ack comes for so long, then gives the last ones that did."""
        while self.last_acks(for_s):
            pass
        with self._heard:
            return list(self._acks)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, topic: str, payload: bytes) -> None:
        _, _, name, channel = topic.split("/")
        try:
            said = json.loads(payload)
        except ValueError:
            return
        if channel == "up" and isinstance(said, dict) and {"spool", "seq"} <= said.keys():
            self._history.say("published", agent=name, spool=said["spool"], seq=said["seq"])
        elif channel == "ack":
            self._hear_ack(name, said)

    def _hear_ack(self, name: str, said: dict[str, Any]) -> None:
        at_ms = int(dt.datetime.fromisoformat(said["time"]).timestamp() * 1000)
        for one in said.get("stored", []):
            self._history.say("acked", agent=name, spool=one["spool"], seqs=one["seqs"], at_ms=at_ms)
            with self._heard:
                self._acks.extend((name, one["spool"], seq) for seq in one["seqs"])
                self.acked += len(one["seqs"])
                self._heard.notify_all()
        for one in said.get("rejected", []):
            self._history.say("refused", agent=name, spool=one["spool"], seqs=[one["seq"]], reason=one["reason"])


def stored_of(influx: Influx, ids: list[Id]) -> set[Id]:
    """Which of these results the database holds now."""
    found: set[Id] = set()
    for agent in {agent for agent, _, _ in ids}:
        seqs = [seq for name, _, seq in ids if name == agent]
        query = f"SELECT spool, seq FROM {_all()} WHERE agent='{agent}' AND seq >= {min(seqs)} AND seq <= {max(seqs)}"
        answer = json.loads(influx.query(query, DATABASE))["results"][0]
        found |= {(agent, row[1], row[2]) for series in answer.get("series", []) for row in series["values"]}
    return found


def write_down_points(influx: Influx, agents: list[str], history: History) -> int:
    """Every point of these units in the database, by plain HTTP, into the history; returns how many."""
    count = 0
    for agent in agents:
        answer = json.loads(influx.query(f"SELECT * FROM {_all()} WHERE agent='{agent}'", DATABASE))["results"][0]
        for series in answer.get("series", []):
            ops = [_point(series["name"], dict(zip(series["columns"], row, strict=True))) for row in series["values"]]
            history.say_all(ops)
            count += len(ops)
    return count


def write_down_letters(state_dir: Path, history: History) -> None:
    """Both generations of the dead-letter file."""
    for file in sorted(state_dir.glob("dead-letters.jsonl*")):
        for line in file.read_bytes().splitlines():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            if "seq" in one:
                history.say("letter", agent=one["agent"], spool=one["spool"], seq=one["seq"], code=one["code"])


def write_down_archive(folder: Path, history: History) -> None:
    """A copy of the archive, its days sealed as if they were over: what stays of it."""
    with tempfile.TemporaryDirectory(prefix="archive-") as place:
        copy = Path(place) / "archive"
        shutil.copytree(folder, copy)
        for day in days_to_seal(copy, "9999-12-31"):
            seal(copy, day)
        damage: list[str] = []
        for records in read_records(copy, on_damage=lambda one: damage.append(str(one))):
            history.say_all([_archived(one.agent, one.payload) for one in records])
        history.say_all([{"op": "archived", "damaged": one} for one in damage])


def _archived(agent: str, payload: bytes) -> dict[str, Any]:
    said, token = json.loads(payload), TOKEN.search(payload)
    name = {"agent": agent, "spool": said["spool"], "seq": said["seq"]}
    return {"op": "archived", "damaged": None, "token": None if token is None else token[0].decode(), **name}


def _point(measurement: str, row: dict[str, Any]) -> dict[str, Any]:
    present = {name: value for name, value in row.items() if value is not None and value != ""}
    tags = {name: present[name] for name in TAGS if name in present}
    fields = {name: value for name, value in present.items() if name not in TAGS and name != "time"}
    return {"op": "point", "measurement": measurement, "time_ns": row["time"], "tags": tags, "fields": fields}


def _all() -> str:
    return ", ".join(MEASUREMENTS)
