"""From a short line to a mail and a webhook: the real collector process, a real mailbox, a real web server."""

import datetime as dt
import http.server
import json
import random
import threading
import time
import urllib.request
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from typer.testing import CliRunner

from collector.alerts.delivery import Delivery, deliver
from collector.alerts.outbox import Notification
from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, SPOOL, Sender
from tests.support.services import Mosquitto, free_port
from xomnet_cli import app

TOKEN = "a-token-of-twenty-letters"
START = dt.datetime.now(dt.UTC).replace(microsecond=0)


class Mailbox:
    """A real SMTP server that keeps what it is given; while `closed`, it takes nothing."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str, str]] = []
        self.closed = False
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.closed:
            return "451 not now"
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        body = mail.get_body(("plain",))
        html = mail.get_body(("html",))
        self.mails.append(
            (str(mail["subject"]), body.get_content() if body else "", html.get_content() if html else "")
        )
        return "250 kept"

    def stop(self) -> None:
        self._controller.stop()


class Hook:
    """A real web server that keeps what is posted; it takes its time for what is titled `slow`."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        kept = self.posted

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if posted["title"] == "slow":
                    time.sleep(1)
                kept.append(posted)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    yield server
    server.stop()


def channels(folder: Path, mailbox: Mailbox, hook: Hook) -> Path:
    """Mail in Vietnamese as HTML; a webhook in English, for one area; one of another area."""
    mail = f"mailto://127.0.0.1:{mailbox.port}/?from=xomnet@example.vn&to=ky-thuat@example.vn&mode=insecure&format=html"
    rows = [
        {"url": mail, "name": "mail"},
        {"url": f"json://127.0.0.1:{hook.port}/alert", "name": "hook", "language": "en", "areas": ["Nam Định/Hải Hậu"]},
        {"url": f"json://127.0.0.1:{hook.port}/elsewhere", "name": "elsewhere", "areas": ["Nam Định/Ý Yên"]},
    ]
    path = folder / "channels.yaml"
    path.write_text(yaml.safe_dump(rows, allow_unicode=True), encoding="utf-8")
    path.chmod(0o600)
    return path


def collector(folder: Path, mosquitto: Mosquitto, mailbox: Mailbox, hook: Hook) -> Collector:
    token = folder / "operator-token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    web = {"public_url": "https://xomnet.example.vn/", "operator_token_file": str(token)}
    return Collector(
        folder,
        plain(mosquitto),
        ROWS,
        web=web,
        notify={"urls_file": str(channels(folder, mailbox, hook)), "digest_at": "never"},
        alerts={"group_wait_s": 1, "keep_firing_for_s": 1},
        assess={"every_s": 1, "silent_after_s": 900},
    )


def measure(sender: Sender, mbps: float, hours: range, first_seq: int) -> None:
    """A download for each hour before now, and a round trip so that the line is not silent."""
    chance = random.Random(first_seq)
    for number, back in enumerate(hours):
        at = START - dt.timedelta(hours=back)
        data = {"engine": "http", "server": "http://s1/", "down_mbps": round(mbps * chance.uniform(0.97, 1.03), 2),
                "flags": ["no_steady_state"] if mbps < 150 else []}  # fmt: skip
        sender.send(message(first_seq + number, "speed", at, data))


def message(seq: int, kind: str, at: dt.datetime, data: dict[str, Any]) -> dict[str, Any]:
    head = {"v": 1, "agent": "nd-a", "spool": SPOOL, "seq": seq, "boot": SPOOL, "line": "ftth", "clock": "synced"}
    return {**head, "kind": kind, "at": at.isoformat(), "data": data}


def target(of: Collector, mbps: int) -> None:
    """Another target for the line: the registry is read again."""
    header = "agent,line,access,hamlet,area,isp,from,target_mbps\n"
    (of.folder / "lines.csv").write_text(header + f"{ROWS[0]},{mbps}\n{ROWS[1]},\n", encoding="utf-8")


def state(of: Collector) -> str:
    lines = of.get("/api/v1/lines")["lines"]
    return next((str(line["state"]) for line in lines if line["agent"] == "nd-a"), "")


def run(of: Collector, *arguments: str, token: Path | None = None) -> tuple[int, str]:
    """A command of the operator's, as it is typed."""
    more = ["--url", f"http://127.0.0.1:{of.port}"]
    more += ["--token-file", str(token)] if token else []
    done = CliRunner().invoke(app, [*arguments, *more], env={"NO_COLOR": "1"})
    return done.exit_code, done.output


@pytest.mark.date
def test_a_short_line_is_one_mail_and_one_webhook_and_so_is_its_end(
    tmp_path: Path, mosquitto: Mosquitto, mailbox: Mailbox, hook: Hook
) -> None:
    mailbox.closed = True  # the first try fails; what waits goes over a restart
    with collector(made(tmp_path, "collector"), mosquitto, mailbox, hook) as running:
        until(lambda: running.health()["broker"] == "ok", "the collector is connected")
        unheard = 'a channel names what no line of the registry has" channel=elsewhere name="Nam Định/Ý Yên"'
        assert running.output().count(unheard) == 1
        sender = Sender(mosquitto.port)
        measure(sender, 162, range(400, 72, -6), 1)
        measure(sender, 42, range(71, 0, -3), 1000)
        echoes = {"method": "icmp", "anchors": ["192.0.2.1"], "sent": 10, "received": 10, "loss_percent": 0}
        sender.send(message(2000, "latency", dt.datetime.now(dt.UTC), echoes))
        sender.close()

        until(lambda: hook.posted, "the webhook is told")
        assert [one["title"] for one in hook.posted] == [
            "▼ BELOW TARGET · Xóm 5, Hải Minh (Hải Hậu, Nam Định) · FTTH VNPT"
        ]
        said = hook.posted[0]["message"].splitlines()
        assert hook.posted[0]["type"] == "failure"
        assert said[0].startswith("Download 4")
        assert "28% of the target (150 Mb/s)" in said[0] or "27% of the target (150 Mb/s)" in said[0]
        assert "tests in 3 days" in said[0]
        assert said[1].startswith("Since ")
        assert said[2].startswith("Check first: ")
        assert said[-1] == "https://xomnet.example.vn/lines/nd-a/ftth"
        until(lambda: "message not sent" in running.output(), "the mailbox was closed")
        assert mailbox.mails == []
        assert running.get("/api/v1/alerts")["waiting"] == 1

        # A person takes it on, says that the line is worked on; both survive the restart.
        token = running.folder / "operator-token"
        code, output = run(running, "ack", "nd-a", "ftth", "--by", "Lan", "--note", "đã đặt ăng-ten", token=token)
        assert (code, output) == (0, "nd-a / ftth: acknowledged by Lan\n")
        window = ("--until", "2h", "--why", "thay bộ định tuyến", "--by", "Lan")
        assert run(running, "maintenance", "add", "--agent", "nd-b", *window, token=token)[0] == 0

        running.kill()
        mailbox.closed = False
        running.start()
        until(lambda: mailbox.mails, "what waited is sent", 90)
        subject, _, html = mailbox.mails[0]
        assert subject == "▼ DƯỚI CHỈ TIÊU · Xóm 5, Hải Minh (Hải Hậu, Nam Định) · FTTH VNPT"
        assert "chỉ tiêu (150 Mb/s)" in html
        assert "Kiểm tra trước: " in html
        assert '<a href="https://xomnet.example.vn/lines/nd-a/ftth">' in html
        until(lambda: state(running) == "short", "judged again")
        alert = running.get("/api/v1/alerts")["alerts"][0]
        assert alert["lines"][0]["acknowledged"]["by"] == "Lan"
        page = running_page(running, "/lines/nd-a/ftth?lang=en")
        assert "Lan" in page
        assert "đã đặt ăng-ten" in page
        assert "thay bộ định tuyến" in run(running, "maintenance", "list")[1]

        target(running, 30)
        until(lambda: running.output().count(unheard) == 3, "said at each start, and when the registry is read again")
        until(lambda: len(hook.posted) == 2, "the end is told")
        until(lambda: len(mailbox.mails) == 2, "by mail, too")
        assert hook.posted[1]["title"].startswith("● MEETING AGAIN · Xóm 5, Hải Minh")
        assert hook.posted[1]["type"] == "success"
        assert "target 30 Mb/s" in hook.posted[1]["message"]
        assert mailbox.mails[1][0].startswith("● ĐẠT TRỞ LẠI · Xóm 5")
        until(lambda: running.get("/api/v1/alerts")["alerts"] == [], "nothing is open")
        assert (len(hook.posted), len(mailbox.mails)) == (2, 2)
        code, output = run(running, "ack", "nd-a", "ftth", token=token)
        assert code == 1
        assert "nd-a / ftth has no" in output
        assert running.metric("xomnet_notify_sent_total") == 3  # since the restart


def test_messages_to_one_address_arrive_in_their_order(hook: Hook) -> None:
    one, other = f"json://127.0.0.1:{hook.port}/one", f"json://127.0.0.1:{hook.port}/other"
    sent = [(one, "slow"), (one, "second"), (other, "third")]
    outcomes = list(deliver([Delivery(url, Notification(title, "text", "<p>text</p>", "info")) for url, title in sent]))
    assert sorted(outcome.number for outcome in outcomes if outcome.reason is None) == [0, 1, 2]
    assert [posted["title"] for posted in hook.posted] == ["third", "slow", "second"]


def running_page(of: Collector, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{of.port}{path}", timeout=10) as answer:
        return str(answer.read().decode())
