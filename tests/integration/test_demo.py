"""The demonstration as its user runs it, and whether what it shows is true."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.support.deployment import until
from tests.support.services import InfluxV2, free_port
from xomnet_demo.province import LINES

XOMNET = Path(sys.executable).with_name("xomnet")


def start(folder: Path, port: int, *more: str, path: str | None = None) -> "subprocess.Popen[str]":
    environment = {**os.environ, **({} if path is None else {"PATH": path})}
    command = [str(XOMNET), "demo", "--port", str(port), "--dir", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def lines(port: int) -> list[dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/lines", timeout=3) as answer:
            found: list[dict[str, Any]] = json.load(answer)["lines"]
            return found
    except OSError:
        return []


def ended_clean(demo: "subprocess.Popen[str]", family: list[psutil.Process]) -> str:
    """Its output, once it has ended with status 0 and none of its processes is left."""
    output, _ = demo.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert demo.returncode == 0, output
    return output


@pytest.mark.timeout(240)
def test_the_demonstration_tells_the_truth_and_leaves_nothing_running(tmp_path: Path) -> None:
    port = free_port()
    demo = start(tmp_path / "demo", port)
    try:
        until(lambda: len(lines(port)) == 8, "the page is alive", 30)
        family = psutil.Process(demo.pid).children(recursive=True)
        assert sum("agent" in process.cmdline() for process in family) == 7
        until(lambda: all(line["samples"] >= 3 for line in lines(port)), "every line has three tests", 90)
        until(lambda: {line["state"] for line in lines(port)} >= {"meeting", "short", "silent"}, "states differ", 90)
        shown = {(line["agent"], line["line"]): line for line in lines(port)}
        for real in LINES[:8]:
            line = shown[real.agent, real.line]
            assert line["median_mbps"] == pytest.approx(real.rate_mbps, rel=0.05), real
            if line["state"] in {"meeting", "short"}:
                assert (line["state"] == "meeting") == (real.rate_mbps >= line["target_mbps"])
        family = psutil.Process(demo.pid).children(recursive=True)
    finally:
        demo.send_signal(signal.SIGINT)
    output = ended_clean(demo, family)
    assert "▼ alert   Xóm 2, xã Giao Minh / 4g: 4" in output


@pytest.mark.timeout(120)
def test_it_ends_by_itself_and_works_without_mosquitto(tmp_path: Path) -> None:
    port = free_port()
    wrapper = "import sys, xomnet_demo.run as r; r.mosquitto = lambda: None; from xomnet_cli import main; main()"
    command = [sys.executable, "-c", wrapper, "demo", "--for", "25", "--port", str(port), "--dir", str(tmp_path / "d")]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: sum(line["samples"] for line in lines(port)) >= 8, "tests come in over the embedded broker", 40)
    family = psutil.Process(demo.pid).children(recursive=True)
    assert any("xomnet_demo.broker" in process.cmdline() for process in family)
    ended_clean(demo, family)


@pytest.mark.timeout(120)
def test_it_stores_in_a_real_influxdb_when_asked(tmp_path: Path, influx_v2: InfluxV2) -> None:
    influx_v2.create("demo")
    port = free_port()
    who = ("--influx-token", influx_v2.token, "--influx-org", influx_v2.org)
    where = ("--influx-url", influx_v2.url, *who, "--influx-bucket", "demo")
    demo = start(tmp_path / "demo", port, "--for", "30", *where)
    until(lambda: sum(line["samples"] for line in lines(port)) >= 4, "tests are judged from InfluxDB", 40)
    family = psutil.Process(demo.pid).children(recursive=True)
    ended_clean(demo, family)
    count = json.loads(influx_v2.query("SELECT count(seq) FROM speed", "demo"))
    assert count["results"][0]["series"][0]["values"][0][1] >= 4
    assert (tmp_path / "demo/influx-token").stat().st_mode & 0o077 == 0
    assert yaml.safe_load((tmp_path / "demo/collector.yaml").read_text())["store"]["org"] == influx_v2.org


def test_it_touches_no_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    demo = start(tmp_path, free_port(), "--for", "5")
    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "name another folder with --dir" in output
    assert (tmp_path / "thesis.txt").exists()


def test_a_killed_demonstration_takes_its_processes_with_it(tmp_path: Path) -> None:
    port = free_port()
    demo = start(tmp_path / "demo", port)
    until(lambda: len(lines(port)) == 8, "the page is alive", 30)
    family = psutil.Process(demo.pid).children(recursive=True)
    demo.kill()
    demo.wait(10)
    time.sleep(0.2)
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
