"""Asking a unit, on real parts: the command line, the collector, a broker with certificates and rules, the unit."""

import datetime as dt
import json
import sqlite3
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner, Result

from collector.commands.commands import Commands
from collector.commands.confirmation import ROUND, ConfirmationWorker, Pace
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.intake import Intake
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus, Snapshot
from collector.metrics import Metrics
from collector.store.sqlite import SqliteStore
from tests.support.deployment import Collector, MeasureServer, Unit, made, plain, secured, until
from tests.support.services import Authority, Mosquitto
from tests.support.stored import AGENT, LINE, registry, row
from xomnet.contract.commands import Command, Reply, decode_reply
from xomnet.contract.messages import encode
from xomnet.mqtt.broker import Broker
from xomnet.runtime.clock import utc_now
from xomnet_cli import app

ROWS = [
    "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01",
    "nd-a,4g,mobile,Xóm 5,Nam Định/Hải Hậu/Hải Minh,Viettel,2026-01-01",
    "nd-b,ftth,fixed,Xóm 2,Nam Định/Giao Thủy/Giao Thiện,FPT,2026-01-01",
]
TOKEN = "an operator's own secret"
RARELY = {"latency": {"every_s": 3600, "echoes": 1, "timeout_ms": 100}, "health": {"every_s": 3600}}


def lines(*servers: str) -> list[dict[str, Any]]:
    """A fixed line, and a mobile one whose budget is spent; neither is tested by itself."""
    fixed = {"line": "ftth", "access": "fixed", "servers": list(servers), "every_s": 1e8}
    return [fixed, {**fixed, "line": "4g", "access": "mobile", "budget_gb": 0.001}]


class Place(NamedTuple):
    collector: Collector
    unit: Unit
    servers: tuple[str, str]

    def ask(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit status and answer of `xomnet ask`."""
        done = self.run(*arguments, "--json")
        return done.exit_code, json.loads(done.stdout)

    def run(self, *arguments: str, token: Path | None = None) -> Result:
        token = token or self.collector.folder / "operator-token"
        where = ["--url", f"http://127.0.0.1:{self.collector.port}", "--token-file", str(token)]
        return CliRunner().invoke(app, ["ask", *arguments, *where])

    def tests(self) -> list[tuple[Any, ...]]:
        """Of the store: line, spool, seq, who asked, server."""
        with sqlite3.connect(f"file:{self.collector.folder}/store.db?mode=ro", uri=True) as database:
            return database.execute("SELECT line, spool, seq, asked, server FROM speed ORDER BY seq").fetchall()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    authority = Authority(made(folder, "authority"))
    home = made(folder, "collector")
    (home / "operator-token").write_text(TOKEN + "\n")
    (home / "operator-token").chmod(0o600)
    web = {"operator_token_file": "operator-token"}
    with (
        Mosquitto(made(folder, "broker"), authority) as broker,
        MeasureServer(made(folder, "one"), 60) as one,
        MeasureServer(made(folder, "two"), 60) as two,
        Collector(home, secured(broker, authority, "collector"), ROWS, web=web) as collector,
        Unit(
            made(folder, "unit"),
            "nd-a",
            secured(broker, authority, "nd-a"),
            one.url,
            lines=lines(one.url, two.url),
            **RARELY,
        ) as unit,
    ):
        until(lambda: collector.get("/api/v1/agents")["agents"][0]["online"], "the unit is online")
        yield Place(collector, unit, (one.url, two.url))


def test_a_measurement_that_was_asked_for_is_answered_and_stored_as_such(place: Place) -> None:
    before = len(place.tests())
    status, found = place.ask("nd-a", "measure", "--line", "ftth")
    (test,) = found["reply"]["tested"]
    assert (status, found["outcome"], test["line"], test["server"]) == (0, "answered", "ftth", place.servers[0])
    assert test["down_mbps"] == pytest.approx(60, rel=0.1)
    until(lambda: len(place.tests()) > before, "it is stored")
    assert place.tests()[before:] == [("ftth", test["spool"], test["seq"], "operator", place.servers[0])]
    shown = place.collector.get("/api/v1/lines/nd-a/ftth/speed")["results"][-1]
    assert (shown["asked"], shown["down_mbps"]) == ("operator", test["down_mbps"])


def test_another_server_measures_where_that_is_asked_for_and_a_person_reads_which(place: Place) -> None:
    done = place.run("nd-a", "measure", "--line", "ftth", "--other-server")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("nd-a / ftth: ")
    assert f"from {place.servers[1]}" in done.stdout


def test_a_line_without_bytes_refuses_and_the_other_one_of_the_unit_measures(place: Place) -> None:
    status, found = place.ask("nd-a", "measure")
    by_line = {test["line"]: test for test in found["reply"]["tested"]}
    assert (status, found["reply"]["ok"]) == (1, True)
    assert "down_mbps" in by_line["ftth"]
    assert (by_line["4g"]["error"], "seq" in by_line["4g"]) == ("budget", False)
    person = place.run("nd-a", "measure")
    assert (person.exit_code, person.stderr) == (1, "")
    assert "Mb/s" in person.stdout
    assert "no figure (budget)" in person.stdout
    status, alone = place.ask("nd-a", "measure", "--line", "4g")
    assert (status, alone["reply"]["ok"], alone["reply"]["error"]) == (1, False, "budget")
    assert not [test for test in place.tests() if test[0] == "4g"]


def test_health_and_settings_are_sent_at_once(place: Place) -> None:
    before = place.collector.metric("xomnet_results_stored_total")
    assert place.ask("nd-a", "report")[0] == 0
    until(lambda: place.collector.metric("xomnet_results_stored_total") > before, "health is stored")
    assert place.run("nd-a", "settings").exit_code == 0


def test_a_unit_that_does_not_listen_is_not_waited_for(place: Place) -> None:
    status, found = place.ask("nd-b", "measure")
    assert (status, found["outcome"]) == (1, "undelivered")


def test_who_has_no_token_asks_nothing(place: Place, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("not the operator's token")
    wrong.chmod(0o600)
    done = place.run("nd-a", "measure", token=wrong)
    assert done.exit_code == 2
    assert "token" in done.stderr


class Voice:
    """A client that writes what it likes to a unit, and hears the unit's replies and results."""

    def __init__(self, port: int) -> None:
        self.replies: list[Reply] = []
        self.kinds: list[str] = []
        self.events: list[str] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe([("xomnet/v1/nd-a/reply", 1), ("xomnet/v1/nd-a/up", 1)])

    def _hear(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic.endswith("/reply"):
            self.replies.append(decode_reply(bytes(message.payload)))
        else:
            result = json.loads(message.payload)
            self.kinds.append(result["kind"])
            self.events += [result["data"]["name"]] if result["kind"] == "event" else []

    def say(self, command: Command | bytes) -> None:
        payload = command if isinstance(command, bytes) else encode(command)
        self._client.publish("xomnet/v1/nd-a/cmd", payload, qos=1).wait_for_publish(10)

    def answer(self, command: Command) -> Reply:
        """Of the last time it was said."""
        before = len(self.replies)
        self.say(command)
        until(lambda: len(self.replies) > before, "the unit answers")
        assert self.replies[-1].id == command.id
        return self.replies[-1]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def command(valid_s: float = 60, **more: Any) -> Command:
    expires = utc_now() + dt.timedelta(seconds=valid_s)
    return Command(**{"id": uuid.uuid4(), "name": "report", "expires": expires, **more})


@pytest.fixture
def unit(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Unit]:
    with Unit(made(tmp_path, "unit"), "nd-a", plain(mosquitto), "http://127.0.0.1:9/", **RARELY) as unit:
        until(lambda: "connected to broker" in unit.output(), "the unit is connected")
        yield unit


@pytest.fixture
def voice(mosquitto: Mosquitto) -> Iterator[Voice]:
    one = Voice(mosquitto.port)
    yield one
    one.close()


def test_what_is_late_or_good_for_ever_or_of_a_later_version_is_refused(unit: Unit, voice: Voice) -> None:
    assert voice.answer(command(-5)).error == "expired"
    assert voice.answer(command(2 * 3600)).error == "too_long"
    assert voice.answer(command(name="measure", line="nowhere")).error == "unknown_line"
    assert voice.answer(command(name="measure", server="the moon")).error == "not_understood"
    later = command()
    before = len(voice.replies)
    voice.say(encode(later).replace(b'"report"', b'"dance"'))
    until(lambda: len(voice.replies) > before, "the unit answers")
    assert (voice.replies[-1].id, voice.replies[-1].error) == (later.id, "not_understood")
    for nonsense in (b"", b"\xff", b"[" * 16_000, b'{"id": 7}', b'{"name": "report"}'):
        voice.say(nonsense)
    assert voice.answer(command()).ok, "the unit lives"
    assert len(voice.replies) == before + 2


def test_a_command_that_comes_again_is_not_done_again_not_even_after_a_restart(unit: Unit, voice: Voice) -> None:
    once = command(name="report")
    assert voice.answer(once).ok
    voice.say(once)
    unit.kill()
    unit.start()
    until(lambda: unit.output().count("connected to broker") == 2, "the unit is connected again")
    voice.say(once)
    assert voice.answer(command()).ok
    assert [reply.id for reply in voice.replies].count(once.id) == 1


def test_another_unit_can_not_command_one(tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority) -> None:
    own = secured(mosquitto_tls, authority, "nd-a")
    with Unit(made(tmp_path, "unit"), "nd-a", own, "http://127.0.0.1:9/", **RARELY) as unit:
        until(lambda: "connected to broker" in unit.output(), "the unit is connected")
        forger = authority.issue("nd-b")
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="nd-b", protocol=paho.MQTTv5)
        client.tls_set(str(forger.ca), str(forger.certificate), str(forger.key))
        answers: list[str] = []
        client.on_publish = lambda _c, _u, _m, reason, _p: answers.append(reason.getName())
        client.connect("localhost", mosquitto_tls.port)
        client.loop_start()
        client.publish("xomnet/v1/nd-a/cmd", encode(command()), qos=1)
        until(lambda: answers, "the broker answers")
        client.disconnect()
        client.loop_stop()
        assert answers == ["Not authorized"]
        assert "command" not in unit.output()


@pytest.fixture
def confirmed(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[tuple[ConfirmationWorker, SqliteStore]]:
    """A collector's part that confirms, without a pause, a line that is likely below target; and a unit."""
    store, commands = SqliteStore(tmp_path / "store.db"), Commands(utc_now)
    broker, dead = Broker(port=mosquitto.port), DeadLetters(tmp_path / "dead.jsonl")
    intake = Intake(broker, "collector", store, registry, dead, Metrics(), commands, utc_now)
    leaning = LineStatus(row(LINE), Judgement("uncertain", 5, 150.0, leaning=True))
    snapshot = Snapshot(utc_now(), (leaning,))
    nothing = dt.timedelta()
    confirming = ConfirmationWorker(
        lambda: snapshot,
        commands,
        lambda: {one.agent for one in intake.agents() if one.online},
        lambda _: lambda _: False,
        tmp_path / "confirm.json",
        Pace(nothing, nothing),
    )
    nowhere = ["http://127.0.0.1:9/", "http://127.0.0.1:10/"]
    with Unit(made(tmp_path, "unit"), AGENT, plain(mosquitto), nowhere[0], lines=lines(*nowhere)[:1], **RARELY):
        intake.start()
        yield confirming, store
        intake.stop()
        store.close()


def test_a_line_that_is_likely_below_target_is_tested_exactly_so_often(
    confirmed: tuple[ConfirmationWorker, SqliteStore], tmp_path: Path
) -> None:
    confirming, store = confirmed
    now = utc_now()

    def tests() -> list[tuple[str | None, str]]:
        confirming.step(utc_now())
        return [(one.asked, one.server) for one in store.speed(LINE, now, now + dt.timedelta(hours=1))]

    until(lambda: len(tests()) == ROUND, "all tests are stored")
    for _ in range(20):
        confirming.step(utc_now())
    assert len(json.loads((tmp_path / "confirm.json").read_bytes())[f"{AGENT}/ftth"]) == ROUND
    first, other = "http://127.0.0.1:9/", "http://127.0.0.1:10/"
    assert tests() == [("confirmation", server) for _ in range(ROUND // 2) for server in (first, other)]
