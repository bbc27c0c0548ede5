"""Remote settings, on real parts: command line, collector, a broker with certificates, units that are killed."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.testing import CliRunner, Result

from agent.control.config_trial import MAX_STARTS
from tests.integration.test_commands import Voice, command
from tests.support.deployment import Collector, Unit, made, plain, secured, until
from tests.support.services import Authority, Mosquitto
from xomnet.contract.commands import Reply
from xomnet_cli import app

AREA = "Nam Định/Hải Hậu"
ROWS = [
    f"nd-a,ftth,fixed,Xóm 5,{AREA}/Hải Minh,VNPT,2026-01-01",
    f"nd-a,4g,mobile,Xóm 5,{AREA}/Hải Minh,Viettel,2026-01-01",
    f"nd-b,ftth,fixed,Xóm 2,{AREA}/Hải Anh,FPT,2026-01-01",
    "nd-c,ftth,fixed,Xóm 1,Nam Định/Giao Thủy/Giao Thiện,FPT,2026-01-01",
]
NOWHERE = "http://127.0.0.1:9/"
FIXED = {"line": "ftth", "access": "fixed", "every_s": 1e8}
QUIET: dict[str, Any] = {
    "lines": [FIXED],
    "latency": {"every_s": 3600, "echoes": 1, "timeout_ms": 100},
    "health": {"every_s": 3600},
}
TWO: dict[str, Any] = {**QUIET, "lines": [FIXED, {"line": "4g", "access": "mobile", "every_s": 1e8}],
                       "servers_allowed": ["*.example"]}  # fmt: skip


def kept(unit: Unit) -> Any:
    return json.loads((unit.folder / "state/remote.json").read_bytes())


class Place(NamedTuple):
    collector: Collector
    one: Unit
    two: Unit

    def run(self, *arguments: str) -> Result:
        token = self.collector.folder / "operator-token"
        where = ["--url", f"http://127.0.0.1:{self.collector.port}", "--token-file", str(token)]
        return CliRunner().invoke(app, ["ask", *arguments, *where])

    def reply(self, *arguments: str) -> dict[str, Any]:
        """What the unit nd-a says of its settings."""
        found: dict[str, Any] = json.loads(self.run("nd-a", "settings", *arguments, "--json").stdout)["reply"]
        return found

    def events(self, name: str) -> list[str]:
        """Of nd-a, stored: their details, oldest first."""
        with sqlite3.connect(f"file:{self.collector.folder}/store.db?mode=ro", uri=True) as database:
            ask = "SELECT detail FROM event WHERE name = ? AND agent = 'nd-a' ORDER BY seq"
            return [row[0] for row in database.execute(ask, [name])]

    def health(self) -> dict[str, Any]:
        agents: list[dict[str, Any]] = self.collector.get("/api/v1/agents")["agents"]
        return next(agent.get("health", {}) for agent in agents if agent["agent"] == "nd-a")

    def online(self, agent: str = "nd-a") -> bool:
        agents: list[dict[str, Any]] = self.collector.get("/api/v1/agents")["agents"]
        return any(one["agent"] == agent and one["online"] for one in agents)

    def proven(self) -> dict[str, Any]:
        """nd-a's settings, once the answer to a result has made them stay."""
        until(lambda: kept(self.one)["trial"] is None, "the trial is over")
        return self.reply()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("remote")
    authority = Authority(made(folder, "authority"))
    home = made(folder, "collector")
    (home / "operator-token").write_text("an operator's own secret\n")
    (home / "operator-token").chmod(0o600)
    web = {"operator_token_file": "operator-token"}
    with (
        Mosquitto(made(folder, "broker"), authority) as broker,
        Collector(home, secured(broker, authority, "collector"), ROWS, web=web) as collector,
        Unit(made(folder, "one"), "nd-a", secured(broker, authority, "nd-a"), NOWHERE, **TWO) as one,
        Unit(made(folder, "two"), "nd-b", secured(broker, authority, "nd-b"), NOWHERE, **QUIET) as two,
    ):
        place = Place(collector, one, two)
        until(lambda: place.online() and place.online("nd-b"), "the units are online")
        yield place


def test_a_change_is_answered_with_what_is_in_force_kept_over_a_kill_and_seen_by_the_fleet(place: Place) -> None:
    done = place.run("nd-a", "settings", "--set", "health.every_s=1800", "--set", "lines.4g.budget_gb=3",
                     "--set", "servers=http://one.example/,http://two.example/", "--within", "0.5")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert "* health.every_s" in done.stdout
    assert "http://one.example/,http://two.example/" in done.stdout
    place.one.kill()
    place.one.start()
    until(place.online, "the unit is back")
    found = place.proven()
    assert found["changed"] == ["health.every_s", "lines.4g.budget_gb", "servers"]
    assert (found["settings"]["lines.4g.budget_gb"], found["settings"]["health.every_s"]) == (3, 1800)
    until(lambda: place.health().get("overrides") == 3, "its health says how many")
    until(lambda: place.events("settings_changed"), "it is told")
    assert "lines.4g.budget_gb=3" in place.events("settings_changed")[0]
    assert not place.events("settings_rolled_back")
    back = place.reply(*(word for key in found["changed"] for word in ("--unset", key)), "--within", "0.5")
    assert "changed" not in back
    assert "servers" not in back["settings"] or back["settings"]["servers"] == []
    place.proven()


def test_what_is_wrong_or_forbidden_is_refused_with_the_key_and_what_is_allowed(place: Place) -> None:
    refused = place.run("nd-a", "settings", "--set", "lines.4g.budget_gb=-1", "--set", "health.every_s=9")
    assert refused.exit_code == 1
    assert "lines.4g.budget_gb: found -1; allowed: a number, more than 0" in refused.stderr
    assert place.run("nd-a", "settings", "--set", "broker.host=elsewhere").exit_code == 2
    rest = f"http://127.0.0.1:{place.collector.port}/api/v1/agents/nd-a/commands"
    assert _posted(rest, {"name": "settings", "settings": {"broker.host": "elsewhere"}}) == 400
    assert _posted(rest, {"name": "report", "unset": ["servers"]}) == 400
    assert "changed" not in place.reply()


def _posted(url: str, body: dict[str, Any]) -> int:
    import urllib.error
    import urllib.request

    headers = {"Authorization": "Bearer an operator's own secret", "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(body).encode(), headers), timeout=40
        ) as done:
            return int(done.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_agent_yaml_read_again_keeps_the_remote_settings(place: Place) -> None:
    place.reply("--set", "log_level=debug", "--within", "0.5")
    place.proven()
    config = place.one.folder / "agent.yaml"
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "anchors": ["127.0.0.1:10"]}))
    place.one.send(signal.SIGHUP)
    until(lambda: place.reply()["settings"]["anchors"] == ["127.0.0.1:10"], "it is read")
    assert place.reply()["settings"]["log_level"] == "debug"
    config.write_text(yaml.safe_dump(settings))


def test_an_area_is_asked_as_one_and_who_was_away_can_be_asked_again(place: Place) -> None:
    place.two.stop()
    until(lambda: not place.online("nd-b"), "nd-b is offline")
    options = ("--set", "lines.4g.every_s=5e7", "--within", "0.5")
    table = place.run("--area", AREA, "settings", *options)
    rows = {line.split()[0]: line for line in table.stdout.splitlines() if line.startswith("nd-")}
    assert (table.exit_code, sorted(rows)) == (1, ["nd-a", "nd-b"])
    assert " done " in rows["nd-a"]
    assert " no answer " in rows["nd-b"]
    assert "2 units: 1 done, 1 no answer" in table.stdout
    assert "xomnet ask nd-b settings --set lines.4g.every_s=5e7" in table.stdout
    place.two.start()
    until(lambda: place.online("nd-b"), "nd-b is back")
    everyone = json.loads(place.run("--all", "settings", *options, "--json").stdout)
    by_unit = {one["agent"]: one for one in everyone["units"]}
    assert "already" in by_unit["nd-a"]["reply"]["detail"]
    assert by_unit["nd-b"]["reply"]["error"] == "invalid", "it has no line 4g"
    assert by_unit["nd-c"]["outcome"] == "undelivered"
    assert (everyone["done"], everyone["refused"], everyone["no_answer"]) == (1, 1, 1)
    assert everyone["again"].startswith("xomnet ask nd-c settings")
    pair = place.run("nd-a,nd-b", "settings")
    assert pair.exit_code == 0
    assert "lines.4g.every_s=50000000.0" in pair.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--all", "nd-a", "settings"),
        ("--all", "--area", AREA, "settings"),
        ("--area", " / ", "settings"),
        (",", "settings"),
        ("settings",),
        ("--all", "measure"),
        ("nd-a,nd-b", "measure"),
        ("nd-a", "measure", "--set", "servers=http://x/"),
        ("nd-a", "settings", "--set", "servers"),
        ("nd-a", "settings", "--set", "log_level=debug", "--set", "log_level=info"),
        ("nd-a", "dance"),
    ],
)
def test_nobody_is_asked_by_mistake(place: Place, arguments: tuple[str, ...]) -> None:
    done = place.run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.fixture
def alone(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[tuple[Unit, Voice]]:
    """A unit, and somebody who commands it but answers no result: as where the collector is lost after that."""
    voice = Voice(mosquitto.port)
    with Unit(made(tmp_path, "unit"), "nd-a", plain(mosquitto), NOWHERE, **QUIET) as unit:
        until(lambda: "connected to broker" in unit.output(), "the unit is connected")
        yield unit, voice
    voice.close()


def test_where_the_collector_is_lost_after_it_the_former_settings_come_back_also_over_a_kill(
    alone: tuple[Unit, Voice],
) -> None:
    unit, voice = alone
    assert voice.answer(command(name="settings", settings={"health.every_s": 1700}, prove_s=20)).ok

    def reply() -> Reply:
        return voice.answer(command(name="settings"))

    until(lambda: reply().trial_s is None, "a command that comes later proves it")
    assert kept(unit)["kept"] == {"health.every_s": 1700}
    changed = voice.answer(command(name="settings", settings={"health.every_s": 77}, prove_s=8))
    assert changed.settings is not None
    assert changed.settings["health.every_s"] == 77
    unit.kill()
    assert kept(unit)["trial"]["settings"] == {"health.every_s": 77}
    unit.start()
    until(lambda: kept(unit)["trial"] is None, "it is taken back", 60)
    assert kept(unit)["kept"] == {"health.every_s": 1700}
    until(lambda: "settings_rolled_back" in voice.events, "it is told")
    assert (reply().settings or {})["health.every_s"] == 1700


def test_a_unit_works_by_what_was_changed_without_a_restart(alone: tuple[Unit, Voice]) -> None:
    unit, voice = alone
    assert voice.answer(command(name="settings", settings={"health.every_s": 3000}, prove_s=3600)).ok
    config = unit.folder / "agent.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "health": {"every_s": 0.2}}))
    unit.send(signal.SIGHUP)
    until(lambda: "settings read" in unit.output(100_000), "agent.yaml is read")
    before = voice.kinds.count("health")
    assert voice.answer(command(name="settings", settings={"health.every_s": 0.2}, prove_s=3600)).ok
    until(lambda: voice.kinds.count("health") >= before + 4, "its health comes by the new pace")
    assert unit.output(100_000).count("agent runs") == 1


def test_settings_that_end_the_agent_are_taken_back_by_its_starts(alone: tuple[Unit, Voice]) -> None:
    unit, voice = alone
    assert voice.answer(command(name="settings", settings={"health.every_s": 77}, prove_s=3600)).ok
    for starts in range(2, MAX_STARTS + 3):
        assert kept(unit)["trial"] is not None
        unit.kill()
        unit.start()
        until(lambda starts=starts: unit.output(100_000).count("agent runs") == starts, "it runs")  # type: ignore[misc]
    assert (kept(unit)["trial"], kept(unit)["kept"]) == (None, {})
    until(lambda: "settings_rolled_back" in voice.events, "it is told")


def test_a_damaged_file_is_said_and_the_unit_works_by_agent_yaml(alone: tuple[Unit, Voice]) -> None:
    unit, voice = alone
    unit.kill()
    (unit.folder / "state/remote.json").write_bytes(b"\0" * 100)
    unit.start()
    until(lambda: "settings_reset" in voice.events, "it is told")
    assert not voice.answer(command(name="settings")).changed
