"""The unit's own page and its socket: who is answered, with what, and within which bounds."""

import datetime as dt
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from agent.control.command_queue import CommandQueue
from agent.delivery.spool import Spool
from agent.errors import RequestRefused
from agent.settings import StatusPageSettings
from agent.status.client import RunningService, ServiceSilent
from agent.status.server import (
    BODY_BYTES,
    HEAD_BYTES,
    JSON,
    MAX_REQUESTS,
    SOCKET,
    Request,
    Response,
    StatusServer,
    is_own_name,
    text_response,
)
from agent.status.status import AgentStatus, LineReport
from agent.web import page
from agent.web.handler import Findings
from tests.support.clocks import clock_from
from tests.support.services import free_port
from tests.unit.test_check import NOW, status
from xomnet.check.finding import fail, ok, say, warn
from xomnet.check.texts import Language
from xomnet.contract.commands import Command, CommandName, Reply

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")


class Door:
    """A server whose answers the test chooses, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[Request] = []
        self.answer: Callable[[Request], Response] = lambda _: text_response(HTTPStatus.OK, "well")
        self.port = free_port()
        self.server = StatusServer(folder, StatusPageSettings(port=self.port), self._answer)
        self.server.start()

    def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        return self.answer(request)

    def say(self, data: bytes) -> bytes:
        """The whole answer to these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(data)
            return self.heard(sock)

    @staticmethod
    def heard(sock: socket.socket) -> bytes:
        found = b""
        while data := sock.recv(65_536):
            found += data
        return found


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    door.server.close()


def test_a_request_and_its_answer(door: Door) -> None:
    found = door.say(b"GET /status.json?x=1 HTTP/1.1\r\nHost: localhost:8421\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert found.endswith(b"\r\n\r\nwell\n")
    assert b"Content-Security-Policy: default-src 'none'" in found
    assert door.asked == [Request("GET", "/status.json", "x=1", "localhost:8421")]


def test_what_comes_by_the_socket_is_known_as_local(door: Door, tmp_path: Path) -> None:
    door.answer = lambda _: Response(HTTPStatus.OK, JSON, b"{}")
    with pytest.raises(ServiceSilent, match="another version"):
        RunningService(tmp_path).status()
    assert [(one.path, one.local) for one in door.asked] == [("/status.json", True)]
    assert (tmp_path / SOCKET).is_socket()


def test_a_socket_left_behind_by_a_killed_service_is_taken_over(tmp_path: Path) -> None:
    with pytest.raises(ServiceSilent):
        RunningService(tmp_path).status()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / SOCKET))
    door = Door(tmp_path)
    with pytest.raises(ServiceSilent, match="another version"):
        RunningService(tmp_path).status()
    door.server.close()


@pytest.mark.parametrize(
    "data",
    [
        b"rubbish\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (BODY_BYTES + 1),
        b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES,
        b"GET /\xff HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_of_ours_is_refused(door: Door, data: bytes) -> None:
    assert door.say(data).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert door.asked == []


def test_who_says_nothing_or_goes_away_costs_no_place(door: Door) -> None:
    for _ in range(3 * MAX_REQUESTS):
        socket.create_connection(("127.0.0.1", door.port)).close()
    assert b"200 OK" in retried(lambda: door.say(b"GET / HTTP/1.1\r\n\r\n"))


def retried(ask: Callable[[], bytes]) -> bytes:
    """Places are free again a moment after their guests went."""
    for _ in range(100):
        try:
            if found := ask():
                return found
        except ConnectionError:
            pass
        time.sleep(0.05)
    raise AssertionError("never answered")


def test_more_than_some_at_a_time_are_turned_away(door: Door) -> None:
    busy, go_on = threading.Semaphore(0), threading.Event()

    def slow(_: Request) -> Response:
        busy.release()
        assert go_on.wait(20)
        return text_response(HTTPStatus.OK, "late")

    door.answer = slow
    guests = [socket.create_connection(("127.0.0.1", door.port), timeout=20) for _ in range(MAX_REQUESTS)]
    for guest in guests:
        guest.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert all(busy.acquire(timeout=20) for _ in guests)
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as one_more:
        assert one_more.recv(10) == b""
    go_on.set()
    assert all(door.heard(guest).endswith(b"late\n") for guest in guests)
    for guest in guests:
        guest.close()


def test_clients_of_the_port_take_no_place_of_the_socket(door: Door, tmp_path: Path) -> None:
    guests = [socket.create_connection(("127.0.0.1", door.port), timeout=20) for _ in range(MAX_REQUESTS)]
    for guest in guests:
        guest.sendall(b"GET / HTTP/1.1\r\n")
    time.sleep(0.2)
    with pytest.raises(ServiceSilent, match="another version"):  # "well" is no status, but it came from there
        RunningService(tmp_path).status()
    for guest in guests:
        guest.close()


def test_a_defect_in_an_answer_is_one_and_the_next_is_given(door: Door) -> None:
    def broken(_: Request) -> Response:
        raise ZeroDivisionError

    door.answer = broken
    assert b"500 Internal Server Error" in door.say(b"GET / HTTP/1.1\r\n\r\n")
    door.answer = lambda _: text_response(HTTPStatus.OK, "well")
    assert b"200 OK" in door.say(b"GET / HTTP/1.1\r\n\r\n")


def test_a_port_that_is_taken_leaves_the_socket(tmp_path: Path, door: Door) -> None:
    (tmp_path / "two").mkdir()
    second = StatusServer(
        tmp_path / "two", StatusPageSettings(port=door.port), lambda _: text_response(HTTPStatus.OK, "two")
    )
    second.start()
    with pytest.raises(ServiceSilent, match="another version"):
        RunningService(tmp_path / "two").status()
    second.close()
    assert door.say(b"GET / HTTP/1.1\r\n\r\n").endswith(b"well\n")


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *(("127.0.0.1:8421", True), ("localhost", True), ("[::1]:8421", True), ("192.168.1.20:8421", True)),
        *((socket.gethostname(), True), (f"{socket.gethostname()}.local:8421", True)),
        *(
            ("evil.example", False),
            ("127.0.0.1.evil.example:8421", False),
            ("", False),
            ("localhost.evil.example", False),
        ),
    ],
)
def test_a_page_of_the_web_whose_name_leads_here_gets_nothing(host: str, own: bool) -> None:
    assert is_own_name(host) is own


# --- the findings that the page shows


def test_checks_run_when_somebody_looks_and_one_round_at_a_time() -> None:
    rounds, go_on = [], threading.Event()

    def look() -> list[object]:
        rounds.append(1)
        assert go_on.wait(20)
        return [ok("power")]

    findings = Findings(look)  # type: ignore[arg-type]
    found, _, running = findings.current(again=False, may_begin=False)
    assert (found, running) == (None, False)
    assert rounds == []
    assert findings.current(again=False, may_begin=True)[2]
    assert findings.current(again=True, may_begin=True)[0] is None
    go_on.set()
    until(lambda: not findings.current(again=False, may_begin=True)[2])
    assert findings.current(again=False, may_begin=True)[0] == [ok("power")]
    assert len(rounds) == 1


def test_a_round_that_fails_may_be_repeated() -> None:
    rounds = []

    def look() -> list[object]:
        rounds.append(1)
        raise ZeroDivisionError

    findings = Findings(look)  # type: ignore[arg-type]
    for _ in range(2):
        findings.current(again=False, may_begin=True)
        until(lambda: not findings.current(again=False, may_begin=False)[2])
    assert len(rounds) == 2


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


EVIL = "<script>alert(1)</script>"


def shown(language: Language = "en", **more: object) -> str:
    line = LineReport(line="ftth", access="fixed", interface="eth0", testing=False, used_bytes=5_000_000)
    one: AgentStatus = status(lines=(line,), stored=1234, **more)
    found = [ok("power", say("up")), fail("eth0", say("{reason}", reason=EVIL), say("{reason}", reason=EVIL))]
    return page.html(one, ZONE, found, 4.0, False, language)


def test_the_page_shows_findings_and_status_in_both_languages() -> None:
    vietnamese = shown("vi", last_ack_age_s=40.0)
    assert "Chưa sẵn sàng: cần sửa 1 việc." in vietnamese
    assert "<dt>Đã lưu từ lúc khởi động</dt><dd>1.234</dd>" in vietnamese
    assert "<dd>40 giây trước</dd>" in vietnamese
    assert f"<dd>{NOW.astimezone(ZONE):%H:%M %d/%m} (17 phút)</dd>" in vietnamese
    english = shown("en")
    assert "Not ready: 1 thing to fix." in english
    assert "<dd>5 MB</dd>" in english


def test_the_page_takes_nothing_for_html() -> None:
    text = shown("en", rejected=1, rejection=EVIL, agent="nd-a-1", version=EVIL)
    assert EVIL not in text
    assert text.count("&lt;script&gt;") == 4


def test_before_the_first_round_the_page_says_that_it_checks_and_comes_again_soon() -> None:
    text = page.html(status(), ZONE, None, 900.0, True, "en")
    assert "<h1>Checking …</h1>" in text
    assert 'content="2; url=/?lang=en"' in text


@pytest.mark.parametrize(("mark", "tone"), [("ok", "ok"), ("warn", "warn"), ("fail", "fail")])
def test_the_head_has_the_tone_of_the_worst_row(mark: str, tone: str) -> None:
    rows = {"ok": ok("a"), "warn": warn("a", say("up"), None), "fail": fail("a", say("up"), None)}
    assert f'<section class="head {tone}">' in page.html(status(), ZONE, [ok("b"), rows[mark]], 1.0, False, "vi")


# --- a command of this machine itself


def command(name: CommandName, seconds: float = 30) -> Command:
    return Command(id=uuid4(), name=name, expires=NOW + dt.timedelta(seconds=seconds))


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[CommandQueue]:
    spool = Spool(tmp_path / "spool.db", "nd-a-1", uuid4())
    yield CommandQueue("nd-a-1", spool, assume_synced=True, read_clock=clock_from(NOW))
    spool.close()


def test_an_answer_goes_to_who_asked_here_and_not_to_the_collector(inbox: CommandQueue) -> None:
    asked = command("report")

    def obey() -> None:
        inbox.wait(20)
        taken = inbox.take()
        assert taken is not None
        inbox.reply(Reply(id=taken.id, agent="nd-a-1", ok=True, detail="done"))

    loop = threading.Thread(target=obey)
    loop.start()
    assert inbox.ask(asked, 20).detail == "done"
    loop.join()
    assert list(inbox.replies()) == []
    inbox.reply(Reply(id=uuid4(), agent="nd-a-1", ok=True))
    assert len(list(inbox.replies())) == 1


def test_who_asks_a_unit_that_is_busy_hears_so_and_nothing_is_done_later(inbox: CommandQueue) -> None:
    with pytest.raises(RequestRefused, match=r"the unit was busy for 0\.05 s"):
        inbox.ask(command("measure", 0.05), 0.05)
    until(lambda: inbox.take() is None)
    assert list(inbox.replies()) == [], "its refusal comes too late for anybody"
    for _ in range(8):
        with pytest.raises(RequestRefused):
            inbox.ask(command("measure"), 0)
    with pytest.raises(RequestRefused, match="8 commands are waiting already"):
        inbox.ask(command("measure"), 0)
