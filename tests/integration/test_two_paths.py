"""Two uplinks: what a line's interface says holds for transfer, names, round trips and the programs of others.

A client with two emulated links to one server: 10 Mb/s and 10 ms by the default route, 30 Mb/s and 60 ms only for who
pins the second one. The name server writes down over which of them each query came.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.linklab import Lab, Link, two_paths

pytestmark = pytest.mark.alone

FIRST, SECOND = Link(rate_mbps=10, rtt_ms=10), Link(rate_mbps=30, rtt_ms=60)
HOST, PORT = "do1.example.vn", 8080
URL = f"http://{HOST}:{PORT}/"
XOMNET = str(Path(sys.executable).with_name("xomnet"))
QUIET_BYTES = 200
"""Less than the answer to a single request, or to a query."""
SERVER = f"""
from measurement_server import MeasurementServer, ServerLimits
server = MeasurementServer("{Lab.server_address}", {PORT}, limits=ServerLimits(speedtest_s=2))
print("ready", flush=True)
server.serve_forever()
"""
PROBE = """
import msgspec, sys
from agent.measure.latency import parse_anchor, probe
from agent.settings import LatencySettings
found = probe([parse_anchor(sys.argv[2])], sys.argv[1] or None, LatencySettings(echoes=3, interval_ms=20))
print(msgspec.json.encode(found).decode())
"""
LATE = 1.0
"""Rates and round trips that differ by a factor of three and six may be measured on a busy machine."""


@dataclass(frozen=True)
class Paths:
    """The client's side of it."""

    lab: Lab
    queries: Path

    def asked_from(self) -> set[str]:
        """The addresses from which names were asked since the last time."""
        clients = {line.split()[0] for line in self.queries.read_text().splitlines()}
        os.truncate(self.queries, 0)
        return clients

    def received_over(self, number: int) -> int:
        """Bytes that the client has received over one of the links. It sends some over the default route in any case:
        to what comes for a connection that is closed, the kernel answers RST, by the routes."""
        return int(self.lab.run("client", ["cat", f"/sys/class/net/line{number}/statistics/rx_bytes"]).stdout)

    def quiet(self, number: int) -> int:
        """`received_over`, once what a test before has left on the way has come."""
        before, now = -1, self.received_over(number)
        while now != before:
            time.sleep(0.5)
            before, now = now, self.received_over(number)
        return now

    def run(self, argv: list[str], **environment: str) -> Any:
        """The JSON that a program prints in the client's namespace."""
        clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        done = self.lab.run("client", argv, check=False, timeout=60, env=clean | environment)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def measure(self, *options: str, **environment: str) -> Any:
        """`xomnet measure`, as a person runs it."""
        found = self.run([XOMNET, "measure", URL, "--json", *options], **environment)
        assert "error" not in found, found
        return found


@pytest.fixture(scope="module")
def paths(root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paths]:
    queries = tmp_path_factory.mktemp("names") / "queries"
    with two_paths(FIRST, SECOND, late_share=LATE) as lab:
        etc = Path("/etc/netns") / lab.client_ns  # what `ip netns exec` shows as /etc
        etc.mkdir(parents=True)
        try:
            (etc / "resolv.conf").write_text(f"nameserver {lab.server_address}\n")
            with queries.open("ab") as file:
                names = [f"{HOST}={lab.server_address}", f"www.speedtest.net={lab.server_address}"]
                lab.popen(
                    "server",
                    [sys.executable, "-m", "tests.support.name_server", lab.server_address, *names],
                    stdout=file,
                )
            server = lab.popen("server", [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            while "ready" not in queries.read_text():
                assert server.poll() is None
            os.truncate(queries, 0)
            yield Paths(lab, queries)
        finally:
            shutil.rmtree(etc)


def test_without_an_interface_the_default_route_is_measured(paths: Paths) -> None:
    found = paths.measure()
    assert found["down_mbps"] == pytest.approx(FIRST.ideal_mbps, rel=0.25)
    assert paths.asked_from() == {paths.lab.ways[0].client_address}


def test_with_an_interface_that_line_is_measured_and_no_other_one_hears_of_it(paths: Paths) -> None:
    before = paths.quiet(0)
    found = paths.measure("--interface", "line1")
    assert found["down_mbps"] == pytest.approx(SECOND.ideal_mbps, rel=0.25)
    assert found["rtt_idle_ms"] > SECOND.rtt_ms - 2
    assert paths.asked_from() == {paths.lab.ways[1].client_address}
    assert paths.received_over(0) - before < QUIET_BYTES


@pytest.mark.parametrize(("anchor", "method"), [(HOST, "icmp"), (f"{HOST}:{PORT}", "tcp"), (f"{HOST}:9", "tcp")])
@pytest.mark.parametrize(("interface", "number"), [("", 0), ("line1", 1)])
def test_round_trips_are_those_of_the_interface(
    paths: Paths, anchor: str, method: str, interface: str, number: int
) -> None:
    before = paths.quiet(1 - number)
    found = paths.run([sys.executable, "-c", PROBE, interface, anchor])
    assert (found["method"], found["received"]) == (method, 3)
    shortest = (FIRST, SECOND)[number].rtt_ms
    assert shortest - 2 < found["rtt_min_ms"] < shortest + 45  # the machine may be busy: 10 must not be taken for 60
    assert paths.asked_from() == {paths.lab.ways[number].client_address}
    assert paths.received_over(1 - number) - before < QUIET_BYTES


def test_speedtest_cli_is_held_to_the_interface(paths: Paths) -> None:
    before = paths.quiet(0)
    found = paths.measure("--engine", "speedtest-cli", "--interface", "line1", http_proxy=URL)
    assert found["engine"] == "speedtest-cli"
    assert 1.3 * FIRST.ideal_mbps < found["down_mbps"] < 1.1 * SECOND.ideal_mbps
    assert paths.asked_from() == {paths.lab.ways[1].client_address}
    assert paths.received_over(0) - before < QUIET_BYTES


def test_speedtest_cli_without_an_interface_takes_the_default_route(paths: Paths) -> None:
    found = paths.measure("--engine", "speedtest-cli", http_proxy=URL)
    assert found["down_mbps"] < 1.1 * FIRST.ideal_mbps
    assert paths.asked_from() == {paths.lab.ways[0].client_address}


def test_ookla_finds_its_server_and_measures_over_the_interface(paths: Paths) -> None:
    before = paths.quiet(0)
    found = paths.measure("--engine", "ookla", "--interface", "line1", http_proxy=URL)
    assert found["engine"] == "ookla"
    assert found["down_mbps"] == pytest.approx(SECOND.ideal_mbps, rel=0.25)
    assert paths.asked_from() == {paths.lab.ways[1].client_address}
    assert paths.received_over(0) - before < QUIET_BYTES


def test_a_name_that_the_lines_server_does_not_know_is_a_result_that_says_so(paths: Paths) -> None:
    found = paths.run([XOMNET, "measure", "http://no.example.vn/", "--json", "--interface", "line1"])
    assert (found["error"], "asked over line1, knows no address" in found["error_detail"]) == ("dns_failure", True)
    assert paths.asked_from() == {paths.lab.ways[1].client_address}


def test_network_manager_says_whom_to_ask_over_a_line_and_is_asked_once(paths: Paths, tmp_path: Path) -> None:
    """Whatever resolv.conf says, which has the servers of all lines; and in no less memory than others have."""
    nmcli, asked = tmp_path / "nmcli", tmp_path / "asked"
    says = f"GENERAL.IP-IFACE:line0\nIP4.DNS[1]:10.77.0.9\n\nGENERAL.IP-IFACE:line1\nIP4.DNS[1]:{Lab.server_address}\n"
    nmcli.write_text(f"#!/bin/sh\nulimit -v >> {asked}\nprintf '%s' '{says}'\n")
    nmcli.chmod(0o755)
    resolv_conf = Path("/etc/netns") / paths.lab.client_ns / "resolv.conf"
    before = resolv_conf.read_text()
    resolv_conf.write_text("nameserver 10.77.0.9\n")
    try:
        found = paths.measure(
            "--engine", "speedtest-cli", "--interface", "line1", http_proxy=URL, PATH=f"{tmp_path}:{os.environ['PATH']}"
        )
    finally:
        resolv_conf.write_text(before)
    assert found["engine"] == "speedtest-cli"
    assert asked.read_text() == "unlimited\n"
    assert paths.queries.read_text().splitlines() == [f"{paths.lab.ways[1].client_address} {HOST}"]
    assert paths.asked_from() == {paths.lab.ways[1].client_address}
