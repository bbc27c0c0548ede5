"""`xomnet agent check` and `status` on real parts: broker with certificates and rules, collector, servers."""

import json
import os
import pwd
import re
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.check.plan import UNIT
from agent.status.client import RunningService
from agent.status.status import AgentStatus
from tests.support.deployment import Collector, MeasureServer, Unit, made, secured, until
from tests.support.far_side import HERE
from tests.support.netns_link import netns_link
from tests.support.services import Authority, Mosquitto, free_port, program
from xomnet.check.broker import check_broker
from xomnet.check.finding import Finding, say
from xomnet.check.texts import CheckTexts
from xomnet.mqtt.broker import Broker, Tls
from xomnet.runtime.clock import utc_now

XOMNET = Path(sys.executable).with_name("xomnet")
AGENT = "nd-a-1"
ROW = f"{AGENT},ftth,fixed,Xóm 5,Nam Định/Hải Hậu,VNPT,2024-10-08"
RATE_MBPS = 170.0
OTHER_AUTHORITY = "broker.tls.ca must be the broker's certificate authority; or another machine answers in its place"


class Place:
    """A unit's folder, and what it speaks to."""

    def __init__(self, folder: Path, broker: Mosquitto, authority: Authority, server: MeasureServer) -> None:
        self.page = free_port()
        self.unit = Unit(
            made(folder, "unit"),
            AGENT,
            secured(broker, authority, AGENT),
            server.url,
            lines=[{"line": "ftth", "access": "fixed", "interface": "lo", "servers": [server.url]}],
            latency={"every_s": 3600},
            health={"every_s": 3600},
            status_page={"port": self.page},
            precheck={"cpu_busy_percent": 100, "cross_traffic_mbps": 1e6},
        )
        self.config = self.unit.folder / "agent.yaml"
        self.state = self.unit.folder / "state"
        self.state.mkdir(mode=0o700)

    def write(self, **changes: Any) -> None:
        self.config.write_text(yaml.safe_dump(yaml.safe_load(self.config.read_text()) | changes))

    def run(self, what: str, *flags: str) -> subprocess.CompletedProcess[str]:
        module = {"check": "agent.check", "status": "agent.status.command"}[what]
        argv = [sys.executable, "-m", module, "--config", str(self.config), "--lang", "en", *flags]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def check(self, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
        """Exit status, and the rows by their names."""
        done = self.run("check", "--json", *flags)
        assert done.stdout.count("\n") == 1
        document = json.loads(done.stdout)
        assert document["ready"] == (done.returncode == 0)
        assert document["to_fix"] == sum(one["mark"] == "fail" for one in document["findings"])
        return done.returncode, {one["name"]: one for one in document["findings"]}

    def status(self) -> AgentStatus:
        """What the running service says, without a process for each question."""
        return RunningService(self.state).status()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MeasureServer]:
    with MeasureServer(made(tmp_path, "server"), RATE_MBPS) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority, server: MeasureServer) -> Place:
    return Place(tmp_path, mosquitto_tls, authority, server)


@pytest.fixture
def collector(tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority) -> Iterator[Collector]:
    broker = secured(mosquitto_tls, authority, "collector")
    with Collector(made(tmp_path, "collector"), broker, [ROW]) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        yield collector


def speeds(collector: Collector) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = collector.get(f"/api/v1/lines/{AGENT}/ftth/speed")["results"]
    return found


def test_a_good_unit_is_ready_with_and_without_its_service_and_each_test_is_stored_once(
    place: Place, collector: Collector, mosquitto_tls: Mosquitto
) -> None:
    code, rows = place.check()
    assert (code, rows["collector"]["mark"], rows["broker"]["mark"]) == (0, "ok", "ok"), rows
    assert re.fullmatch(r"acknowledged in \d+(\.\d)? s", rows["collector"]["found"])
    assert re.match(r"TLS, certificate valid until \d{4}-\d\d-\d\d$", rows["broker"]["found"])
    assert rows["server ftth"]["found"].endswith("not busy")
    assert re.match(r"\d+(\.\d)? Mb/s of 150, ", rows["ftth"]["found"])
    with place.unit:
        until(lambda: (place.state / "agent.sock").exists() and place.status().connected, "the service is connected")
        code, again = place.check()
        assert (code, {name: one["mark"] for name, one in again.items()}) == (
            0,
            {n: o["mark"] for n, o in rows.items()},
        )
        status = json.loads(place.run("status", "--json").stdout)
        assert status["waiting"] == 0
        assert status["stored"] >= 4, "started, health twice, one test"
        assert status["lines"][0]["last_mbps"] > 1
        assert "session taken over" not in place.unit.output()
        assert place.unit.output().count("connected to broker") == 1
    until(lambda: len(speeds(collector)) >= 2, "both tests are stored")
    assert [one["asked"] for one in speeds(collector)] == ["operator", "operator"], "each once"
    assert collector.metric("xomnet_results_rejected_total") == 0
    ledger = json.loads((place.state / "ledger.json").read_text())
    assert sum(lines["ftth"] for lines in ledger["months"].values()) > 2 * 40e6, "both tests are in the ledger"


def test_for_a_person_there_is_a_row_each_and_one_sentence(place: Place, collector: Collector) -> None:
    argv = [str(XOMNET), "agent", "check", "--config", str(place.config), "--lang", "en", "--no-test"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"xomnet 0.1.0 on {AGENT} (")
    assert any(re.match(r" ✔ collector +acknowledged in", line) for line in lines)
    assert not any("Mb/s of" in line for line in lines)
    assert re.fullmatch(r" Ready(\.|; \d things? to look at\.)", lines[-1])
    assert (done.returncode, done.stderr) == (0, "")
    silent = place.run("status")
    assert silent.returncode == 1
    assert "check that the service runs" in silent.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users reach; pytest closes its own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_services_user_keeps_its_files_when_root_checks(
    root: None, open_folder: Path, server: MeasureServer
) -> None:
    nobody = pwd.getpwnam("nobody")
    authority = Authority(made(open_folder, "ca"))
    with Mosquitto(made(open_folder, "broker"), authority) as broker:
        place = Place(open_folder, broker, authority, server)
        for own in (place.state, authority.folder / f"{AGENT}.key"):
            os.chown(own, nobody.pw_uid, nobody.pw_gid)
        _, rows = place.check("--no-test")
    assert (rows["disk"]["mark"], rows["broker"]["mark"]) == ("ok", "ok"), (rows["disk"], rows["broker"])
    assert "no collector is connected" in rows["collector"]["found"]
    files = list(place.state.iterdir())
    assert {"spool.db", "lock"} <= {file.name for file in files}
    assert {file.stat().st_uid for file in files} == {nobody.pw_uid}


def test_without_a_collector_or_without_a_row_of_the_unit_it_is_told_so(
    tmp_path: Path, place: Place, mosquitto_tls: Mosquitto, authority: Authority
) -> None:
    code, rows = place.check("--no-test")
    assert (code, rows["broker"]["mark"], rows["collector"]["mark"]) == (1, "ok", "fail")
    assert "no collector is connected" in rows["collector"]["found"]
    assert place.unit.waiting() >= 1, "it is not lost"
    broker = secured(mosquitto_tls, authority, "collector")
    with Collector(made(tmp_path, "collector"), broker, [ROW.replace(AGENT, "nd-b-2")]) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        code, rows = place.check("--no-test")
    assert (code, rows["collector"]["mark"]) == (1, "fail")
    assert "unknown_agent" in rows["collector"]["found"]
    assert "registry" in rows["collector"]["remedy"]


def words(found: Finding) -> str:
    return CheckTexts("en").sentences(found.found)


def test_a_revoked_certificate_is_refused_by_the_broker(tmp_path: Path) -> None:
    """With TLS 1.3 that is told only after the handshake."""
    authority = Authority(made(tmp_path, "own-ca"))
    own, folder = authority.issue(AGENT), authority.folder
    (folder / "index").touch()
    (folder / "ca.conf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=9\n")
    ca = [program("openssl"), "ca", "-config", "ca.conf", "-cert", "ca.crt", "-keyfile", "ca.key"]
    for more in (["-revoke", f"{AGENT}.crt"], ["-gencrl", "-out", "crl.pem"]):
        subprocess.run([*ca, *more], cwd=folder, check=True, capture_output=True, timeout=30)
    tls = Tls(ca=own.ca, cert=own.certificate, key=own.key)
    with Mosquitto(made(tmp_path, "broker"), authority, more=f"crlfile {folder}/crl.pem") as process:
        found = check_broker(Broker(host="localhost", port=process.port, tls=tls), AGENT, UNIT, utc_now())
    assert found.mark == "fail"
    assert re.search("the broker refuses the certificate of nd-a-1: .*revoked", words(found))


def test_a_broker_of_another_authority_is_not_trusted(
    tmp_path: Path, mosquitto_tls: Mosquitto, authority: Authority
) -> None:
    stranger, own = Authority(made(tmp_path, "stranger")).issue(AGENT), authority.issue(AGENT)
    tls = Tls(ca=stranger.ca, cert=stranger.certificate, key=stranger.key)
    found = check_broker(Broker(host="localhost", port=mosquitto_tls.port, tls=tls), AGENT, UNIT, utc_now())
    assert (found.mark, found.remedy) == ("fail", say(OTHER_AUTHORITY))
    assert words(found).startswith("the broker's certificate is not valid: ")
    tls = Tls(ca=own.ca, cert=own.certificate, key=own.key)
    assert check_broker(Broker(host="localhost", port=mosquitto_tls.port, tls=tls), AGENT, UNIT, utc_now()).mark == "ok"


def test_a_busy_measurement_server_is_amber_and_one_that_is_away_is_red(
    tmp_path: Path, place: Place, collector: Collector
) -> None:
    port = free_port()
    argv = [sys.executable, "-m", "measurement_server", "--port", str(port), "--max-tests", "1", "--rate", "1"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: _listens(port), "the measurement server listens")
            line = {"line": "ftth", "access": "fixed", "interface": "lo", "servers": [f"http://127.0.0.1:{port}/"]}
            place.write(lines=[line])
            with socket.create_connection(("127.0.0.1", port), timeout=10) as other:
                other.sendall(b"GET /garbage.php?ckSize=100 HTTP/1.1\r\nHost: x\r\nX-Xomnet-Test: other\r\n\r\n")
                assert other.recv(100)
                code, rows = place.check()
        finally:
            process.kill()
    assert (code, rows["server ftth"]["mark"], rows["ftth"]["mark"]) == (0, "warn", "warn"), rows
    assert "server_busy" in rows["server ftth"]["found"]
    code, rows = place.check()
    assert (code, rows["server ftth"]["mark"], rows["ftth"]["mark"]) == (1, "fail", "skip")
    assert "connect_refused" in rows["server ftth"]["found"]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_dark_port_is_one_thing_to_fix(root: None, tmp_path: Path, place: Place, collector: Collector) -> None:
    """The other end of the cable has no power."""
    with netns_link(made(tmp_path, "link"), 50) as way:
        far = way.interface[:-1] + "f"
        subprocess.run([program("ip"), "-n", way.namespace, "link", "set", far, "down"], check=True, timeout=10)
        line = {"line": "ftth", "access": "fixed", "interface": way.interface, "servers": [way.url]}
        place.write(lines=[line])
        code, rows = place.check()
    assert code == 1
    assert [name for name, one in rows.items() if one["mark"] == "fail"] == [way.interface]
    assert rows[way.interface]["found"] == "no link at the port"
    assert rows["ftth"] == {"name": "ftth", "mark": "skip", "found": f"not tested: {way.interface} is not ready"}
    assert "server ftth" not in rows


def test_a_port_that_works_says_speed_address_and_gateway(root: None, tmp_path: Path, place: Place) -> None:
    """Seen from the other end, where a default route may be made."""
    with netns_link(made(tmp_path, "link"), 50) as way:
        far = way.interface[:-1] + "f"
        route = [program("ip"), "-n", way.namespace, "route", "add", "default", "via", HERE, "dev", far]
        subprocess.run(route, check=True, timeout=10)
        place.write(lines=[{"line": "ftth", "access": "fixed", "interface": far}], servers=[])
        inside = [
            program("ip"),
            "netns",
            "exec",
            way.namespace,
            sys.executable,
            "-m",
            "agent.check",
            "--no-test",
            "--json",
        ]
        argv = [*inside, "--lang", "en", "--config", str(place.config)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)
    rows = {one["name"]: one for one in json.loads(done.stdout)["findings"]}
    assert rows[far]["mark"] == "ok"
    gateway = r"10,000 Mb/s full duplex, 198\.51\.100\.2, gateway answers in [\d.]+ ms"
    assert re.fullmatch(gateway, rows[far]["found"])
    assert rows["broker"]["mark"] == rows["collector"]["mark"] == "fail", "there is no way to it from here"


def test_wrong_settings_are_a_sentence_and_status_two(place: Place) -> None:
    place.write(agent="Hải Hậu")
    done = place.run("check", "--json")
    assert done.returncode == 2
    assert "agent: found 'Hải Hậu'; allowed: lower-case letters" in json.loads(done.stdout)["error"]


def test_the_running_unit_shows_its_page_and_its_status_to_this_machine_only(
    place: Place, collector: Collector
) -> None:
    url = f"http://127.0.0.1:{place.page}"
    with place.unit:
        until(lambda: get(f"{url}/status.json").get("last_ack_at"), "an answer of the collector")
        found = get(f"{url}/status.json")
        assert (found["agent"], found["version"], found["connected"]) == (AGENT, "0.1.0", True)
        until(lambda: "acknowledged" in text(f"{url}/?lang=en"), "the checks have run")
        page = text(f"{url}/?lang=en")
        assert "TLS, certificate valid until" in page
        assert "Phần mềm thu thập trả lời lần cuối" in text(url)
        request = urllib.request.Request(f"{url}/status.json", headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="421"):
            urllib.request.urlopen(request, timeout=10)
        order = urllib.request.Request(f"{url}/ask", b'{"name": "measure"}', method="POST")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(order, timeout=10)
        assert (place.state / "agent.sock").stat().st_mode & 0o077 == 0


def text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def get(url: str) -> Any:
    return json.loads(text(url))
