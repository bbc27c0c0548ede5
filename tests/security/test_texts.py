"""Texts that act on whoever shows them: from a real message through a real collector to page, file and terminal."""

import datetime as dt
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto
from tests.unit.test_characters import HOSTILE, LONE, VIETNAMESE
from xomnet.contract.commands import decode_command
from xomnet.contract.topics import topic
from xomnet_cli import app

pytestmark = pytest.mark.date

ACTING = "".join(HOSTILE + LONE)
TEXT = f"{VIETNAMESE}{ACTING}|"
TOKEN = "an operator's own secret"


@pytest.fixture
def place(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[tuple[Collector, Sender]]:
    home = made(tmp_path, "collector")
    (home / "token").write_text(f"{TOKEN}\n")
    (home / "token").chmod(0o600)
    with Collector(home, plain(mosquitto), ROWS, web={"operator_token_file": "token"}) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(mosquitto.port)
        yield collector, sender
        sender.close()


def shown(collector: Collector, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{collector.port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def is_harmless(text: str) -> bool:
    return text.removeprefix("\ufeff").replace("\n", "").replace("\r", "").replace("\t", "").isprintable()


def test_no_text_of_a_unit_acts_on_page_file_or_terminal(place: tuple[Collector, Sender], tmp_path: Path) -> None:
    collector, sender = place
    speed = {"engine": "http", "server": TEXT, "error": "timeout", "error_detail": TEXT}
    sender.send(result(1, kind="speed", data=speed))
    sender.send(result(2, kind="event", data={"name": "started", "detail": TEXT}))
    sender.send(json.dumps(result(3)).encode().replace(b"192.0.2.1", b"\xff\xfe\xed\xa0\x80"))
    sender.send({"v": 1, "agent": "nd-a", "online": True, "version": TEXT}, topic("nd-a", "state"))
    until(lambda: sender.stored() >= {1, 2, 3}, "all are stored")
    assert sender.rejected() == {}
    speeds, events = "/api/v1/lines/nd-a/ftth/speed", "/api/v1/agents/nd-a/events"
    for path in (
        "/",
        "/lines/nd-a/ftth",
        "/api/v1/agents",
        speeds,
        events,
        f"{speeds}?format=csv",
        f"{events}?format=csv",
    ):
        assert is_harmless(shown(collector, path)), path
    assert VIETNAMESE in shown(collector, speeds)
    month = dt.datetime.now(dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=7))).strftime("%Y-%m")
    for form in ("docx", "xlsx", "html", "csv"):
        file = tmp_path / f"report.{form}"
        config = collector.folder / "collector.yaml"
        done = CliRunner().invoke(app, ["report", "--month", month, "--out", str(file), "--config", str(config)])
        assert done.exit_code == 0, done.output
        assert file.stat().st_size > 0


def test_no_answer_of_a_unit_acts_on_the_operators_terminal(place: tuple[Collector, Sender]) -> None:
    collector, sender = place

    def answer(_c: object, _u: object, message: object) -> None:
        id_ = str(decode_command(message.payload).id)  # type: ignore[attr-defined]
        tested = [{"line": "ftth", "error": "timeout", "error_detail": TEXT, "server": TEXT}]
        reply = {"id": id_, "agent": "nd-a", "ok": True, "detail": TEXT, "ignored": TEXT, "tested": tested}
        client.publish(topic("nd-a", "reply"), json.dumps(reply | {"settings": {"log_level": TEXT}}))

    client = sender._client
    client.message_callback_add(topic("nd-a", "cmd"), answer)
    client.subscribe(topic("nd-a", "cmd"), qos=1)
    where = ["--url", f"http://127.0.0.1:{collector.port}", "--token-file", str(collector.folder / "token")]
    for command in ("settings", "measure", "report"):
        done = CliRunner().invoke(app, ["ask", "nd-a", command, *where])
        assert "ổn định" in done.stdout + done.stderr, done.output
        assert is_harmless(done.stdout + done.stderr), command
