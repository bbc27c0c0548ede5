"""Strangers without a certificate, behind the address that units share: what they hold back, and who gets through.

The measurement server with the options of its role, nginx with the role's own files; only ports and folders differ.
"""

import http.client
import re
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.test_enrol import key_of, open_door, rendered
from tests.security.figures import note
from tests.support.deployment import MeasureServer, made
from tests.support.permissions import PermissionKey
from tests.support.services import Nginx, Process, program
from tests.unit.test_authority import csr

SOURCE = "127.0.0.1"
UNITS = [f"nd-{number:03}" for number in range(200)]
HOLDERS = [f"{unit}-old" for unit in UNITS]
"""Those that have a certificate already."""
ROWS = "".join(f"{unit},ftth,fixed,Xóm 5,Ninh Bình/xã Hải Anh,VNPT,2026-01-01\n" for unit in (*UNITS, *HOLDERS))


class RoleServer(MeasureServer):
    """The measurement server as its role starts it, with other values where a test says so."""

    def __init__(self, folder: Path, key: PermissionKey, **values: object) -> None:
        service = rendered(
            "measure_server/templates/xomnet-measure-server.service",
            **{
                "xomnet_measure_rate": 300,
                "xomnet_measure_tests": 8,
                "xomnet_measure_stranger_tests": 2,
                "xomnet_measure_name": "do1.example.vn",
                **values,
            },
        )
        found = re.search(r"measure-server (--host ::) --port 8080 --rate (\S+) (.*)", service)
        assert found is not None
        more = found[3].replace("/etc/xomnet/permission.pub", str(key.public)).split()
        super().__init__(folder, float(found[2]), *found[1].split(), *more)


class RoleNginx(Nginx):
    """nginx with the role's nginx.conf around its settings."""

    def __init__(self, folder: Path, settings: str) -> None:
        super().__init__(folder, "return 404;")
        made(folder, "conf.d")
        (folder / "conf.d/xomnet.conf").write_text(settings)
        text = rendered("nginx/templates/nginx.conf").replace("user www-data", "user root")
        for old, new in (
            ("/var/log/nginx/error.log", "stderr"),
            ("/var/log/nginx/access.log", str(self.access_log)),
            ("/run/nginx.pid", f"{folder}/nginx.pid"),
            ("include /etc/nginx/modules-enabled/*.conf;", "daemon off;"),
            ("/etc/nginx/conf.d/", f"{folder}/conf.d/"),
            ("sendfile on;", "".join(f"{path}_temp_path {folder}/{path};" for path in ("client_body", "proxy"))),
        ):
            assert old in text
            text = text.replace(old, new)
        port = re.search(r"listen 127.0.0.1:(\d+)", settings)
        assert port is not None
        (folder / "nginx.conf").write_text(text)
        Process.__init__(
            self, folder, [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", "nginx.conf"], int(port[1])
        )


@contextmanager
def half_requests(port: int, count: int, rate: int, *more: str) -> Iterator[None]:
    """Half requests from SOURCE, all of them open at the beginning, and again what the server closes."""
    argv = [sys.executable, "-m", "tests.security.half_requests", str(port), str(count), str(rate), SOURCE, *more]
    processes = [
        subprocess.Popen([*argv[:4], str(count // 2), str(rate // 2), *argv[6:]], stdin=-1, stdout=-1, text=True)
        for _ in range(2)  # the descriptors of one process may not be enough
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], 120)
            assert ready, "the attack does not get on"
            assert process.stdout.readline() == "opened\n"
        yield
    finally:
        for process in processes:
            try:
                note("attacker", process.communicate("\n", timeout=30)[0].strip())
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def get(port: int, permission: str | None = None, test: str = "x", source: str = SOURCE, mib: int = 1) -> int:
    """The status of a download from this address, read to its end."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=(source, 0))) as connection:
        shown = {} if permission is None else {"Authorization": f"Bearer {permission}"}
        connection.request("GET", f"/garbage.php?ckSize={mib}", headers={"X-Xomnet-Test": test, **shown})
        answer = connection.getresponse()
        received = len(answer.read())
        assert received == mib * 2**20 or answer.status != 200
        return answer.status


def slow(port: int, test: str, source: str = SOURCE) -> socket.socket:
    """A download that has begun and takes next to nothing."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(10)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET /garbage.php?ckSize=1024 HTTP/1.1\r\nX-Xomnet-Test: {test}\r\n\r\n".encode())
    connection.recv(12)
    return connection


def in_turns(ask: Callable[[str], int], units: list[str], at_once: int = 8) -> tuple[int, float]:
    """How many got an answer of 200, asking again for a minute as units do, and how long all of it took in seconds."""
    end = time.monotonic() + 60

    def until_answered(unit: str) -> bool:
        while time.monotonic() < end:
            try:
                if ask(unit) == 200:
                    return True
            except (OSError, http.client.HTTPException, httpx.TransportError) as error:
                print(unit, repr(error))
            time.sleep(0.5)
        return False

    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(until_answered, units)), time.monotonic() - began


@pytest.fixture
def key(tmp_path: Path) -> PermissionKey:
    return PermissionKey(tmp_path)


def test_eight_downloads_that_take_nothing_leave_units_their_places(tmp_path: Path, key: PermissionKey) -> None:
    with RoleServer(made(tmp_path, "server"), key) as server, ExitStack() as held:
        for number in range(8):
            held.enter_context(slow(server.port, f"slow-{number}"))
        assert get(server.port, test="another") == 503
        assert get(server.port, test="elsewhere", source="127.0.0.2") == 200
        assert [get(server.port, key.permit(unit), unit) for unit in UNITS[:6]] == [200] * 6


def test_a_unit_of_0_1_0_and_xomnet_measure_are_strangers_and_measure(tmp_path: Path, key: PermissionKey) -> None:
    with RoleServer(made(tmp_path, "server"), key, xomnet_measure_rate=20) as server:
        argv = [sys.executable, "-c", "from xomnet_cli import main; main()", "measure", server.url, "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        server.stop()
        assert "unit=" not in server.output()
        assert 'event="test ended"' in server.output()


def test_the_deployed_server_names_the_public_address_and_the_clients_own(tmp_path: Path, key: PermissionKey) -> None:
    with RoleServer(made(tmp_path, "server"), key) as server:
        for source in ("127.0.0.1", "127.0.0.2"):
            with closing(http.client.HTTPConnection("127.0.0.1", server.port, 10, (source, 0))) as connection:
                connection.request("GET", "/speedtest-servers-static.php")
                assert b'host="do1.example.vn:8080"' in connection.getresponse().read()
                connection.request("GET", "/getIP.php")
                assert f'"{source}"'.encode() in connection.getresponse().read()


def _measured_beside_half_requests(folder: Path, key: PermissionKey, count: int, units: list[str]) -> None:
    """Half as many are open at once as the server lets wait, and more: the oldest makes room."""
    with (
        RoleServer(made(folder, "server"), key, xomnet_measure_tests=42) as server,
        half_requests(server.port, count, 2500),
    ):
        permissions = {unit: key.permit(unit) for unit in units}
        answered, took_s = in_turns(lambda unit: get(server.port, permissions[unit], unit), units)
        memory = _memory_mb(server.pid)
        note(f"s for {answered} of {len(units)} units to measure", round(took_s, 1))
        note("server, MB", round(memory))
        assert answered == len(units)
        assert memory < 200


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def test_units_measure_beside_two_thousand_half_requests_of_their_address(tmp_path: Path, key: PermissionKey) -> None:
    _measured_beside_half_requests(tmp_path, key, 2000, UNITS[:20])


@pytest.mark.attack
@pytest.mark.timeout(300)
def test_200_units_measure_beside_20_000_half_requests_of_their_address(tmp_path: Path, key: PermissionKey) -> None:
    _measured_beside_half_requests(tmp_path, key, 20_000, UNITS)


def _enrolled_beside_half_requests(folder: Path, count: int, units: list[str], *more: str) -> None:
    with open_door(folder, ROWS, RoleNginx) as door:
        tokens = {unit: door.token(unit) for unit in units}
        holders = {unit: door.holder(f"{unit}-old") for unit in units}
        requests = {unit: csr(unit).decode() for unit in units}
        renewals = {unit: csr(f"{unit}-old", of=key_of(holders[unit])).decode() for unit in units}
        trust = ssl.create_default_context(cafile=door.authority.folder / "ca.crt")

        def enrol(unit: str) -> int:
            with httpx.Client(verify=trust, base_url=door.url, timeout=20) as client:
                body = {"agent": unit, "token": tokens[unit], "csr": requests[unit]}
                return client.post("/enrol/v1/certificate", json=body).status_code

        def renew_and_fetch(unit: str) -> int:
            with door.client(holders[unit]) as client:
                assert client.get("/releases/v1/manifest.json").status_code == 200
                return client.post("/enrol/v1/renew", json={"csr": renewals[unit]}).status_code

        with half_requests(door.port, count, 2000, *more):
            for what, ask in (("enrolled", enrol), ("renewed and fetched a release", renew_and_fetch)):
                answered, took_s = in_turns(ask, units)
                note(f"s until {answered} of {len(units)} units {what}", round(took_s, 1))
                assert answered == len(units)


def test_units_enrol_and_renew_beside_two_thousand_half_requests_of_their_address(tmp_path: Path) -> None:
    _enrolled_beside_half_requests(tmp_path, 2000, UNITS[:10], "--tls")


@pytest.mark.attack
@pytest.mark.timeout(400)
def test_200_units_enrol_and_renew_beside_20_000_half_requests_of_their_address(tmp_path: Path) -> None:
    _enrolled_beside_half_requests(tmp_path, 20_000, UNITS, "--tls")
