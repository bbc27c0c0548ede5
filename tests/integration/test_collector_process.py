"""The collector as a process: what it says when it can't start, how it ends, what survives a full disk."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployment import Collector, made, plain, until
from tests.support.services import Mosquitto, free_port

ROW = "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01"


def refused(folder: Path, **changes: Any) -> tuple[int, str]:
    """Exit status and words of a collector whose settings have `changes`."""
    (folder / "lines.csv").write_text("agent,line,access,hamlet,area,isp,from\n" + ROW + "\n", encoding="utf-8")
    settings = {
        "broker": {"port": free_port()},
        "registry": "lines.csv",
        "state_dir": "state",
        "store": {"kind": "sqlite", "path": "store.db"},
        "web": {"port": free_port()},
        **changes,
    }
    file = folder / "collector.yaml"
    file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "collector", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"registri": "x"}, 2, "registri: found an unknown key; allowed: registry (did you mean it?)"),
        (
            {"broker": {"port": "many"}},
            2,
            "broker.port: found 'many'; allowed: a whole number, at least 1, at most 65535",
        ),
        ({"registry": "none.csv"}, 2, "none.csv: No such file or directory; name a readable CSV file"),
        ({"state_dir": "/proc/xomnet"}, 1, "state_dir: /proc/xomnet: "),
        ({"store": {"kind": "sqlite", "path": "/proc/xomnet/store.db"}}, 1, "/proc/xomnet/store.db"),
        (
            {"store": {"kind": "influx", "url": "http://127.0.0.1:1", "bucket": "b", "token_file": "none"}},
            2,
            "none: No such file or directory; put the secret there",
        ),
        # InfluxDB 2 refuses a write without one with 400, as it refuses bad points
        (
            {"store": {"kind": "influx", "url": "http://x", "bucket": "b", "token_file": "none", "org": ""}},
            2,
            "store.org: found ''; allowed: ",
        ),
    ],
)
def test_it_says_what_to_mend_and_leaves(tmp_path: Path, changes: dict[str, Any], status: int, words: str) -> None:
    code, said = refused(tmp_path, **changes)
    assert code == status, said
    assert words in said
    assert "Traceback" not in said


def test_a_taken_port_is_said_before_anything_is_received(tmp_path: Path, mosquitto: Mosquitto) -> None:
    code, said = refused(tmp_path, web={"port": mosquitto.port})
    assert code == 1
    assert f"port {mosquitto.port}: Address already in use; choose another web.host or web.port" in said


def test_a_secret_open_to_others_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    store = {"kind": "influx", "url": "http://127.0.0.1:1", "bucket": "b", "token_file": "token"}
    code, said = refused(tmp_path, store=store)
    assert code == 2
    assert "mode 644 is open to others; run: chmod 600" in said


def test_sigterm_ends_it_in_order(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [ROW]) as collector:
        until(lambda: collector.health()["status"] == "ok", "it is well")
        assert collector.metric("xomnet_lines") == 1
        collector.stop()
        assert collector.status == 0
        assert "collector ended" in collector.output()


def test_sighup_reads_the_registry_at_once(tmp_path: Path, mosquitto: Mosquitto) -> None:
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [ROW]) as collector:
        until(lambda: collector.health()["status"] == "ok", "it is well")
        collector.send(signal.SIGHUP)
        until(lambda: "registry read" in collector.output(), "it is read", 4)


def test_a_restart_with_a_registry_that_was_refused_goes_on_with_the_last_good_one(
    tmp_path: Path, mosquitto: Mosquitto
) -> None:
    with Collector(made(tmp_path, "collector"), plain(mosquitto), [ROW]) as collector:
        until(lambda: collector.health()["status"] == "ok", "it is well")
        (collector.folder / "lines.csv").write_text("agent,line\n", encoding="utf-8")
        until(lambda: collector.metric("xomnet_registry_problems") > 0, "it is refused")
        collector.kill()
        collector.start()
        until(lambda: collector.health()["status"] == "ok", "it is well")
        assert [line["agent"] for line in collector.get("/api/v1/lines")["lines"]] == ["nd-a"]
        assert collector.metric("xomnet_registry_problems") > 0
