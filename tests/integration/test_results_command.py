"""`xomnet results`, as a person types it beside a running collector."""

import datetime as dt
import json
import os
import subprocess
import sys
import time
from typing import Any

from tests.support.deployment import Collector, until
from tests.support.sender import Sender, result

WHO = ["--reason", "stolen from the hamlet", "--by", "Lan"]


def xomnet(collector: Collector, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", "from xomnet_cli import main; main()", "results", *arguments]
    config = ["--config", str(collector.folder / "collector.yaml")]
    return subprocess.run([*line, *config], capture_output=True, text=True, timeout=60, check=False, **more)


def answer(collector: Collector, *arguments: str) -> dict[str, Any]:
    done = xomnet(collector, *arguments, "--json")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def state(collector: Collector) -> tuple[str, str]:
    (line,) = (one for one in collector.get("/api/v1/lines")["lines"] if one["agent"] == "nd-a")
    return line["state"], line.get("last_result_at", "")


def test_a_quarantine_is_seen_by_a_running_collector_and_so_is_its_release(
    sender: Sender, collector: Collector
) -> None:
    honest = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=3)).replace(microsecond=0)
    sender.send(result(1, at=honest.isoformat()))
    until(lambda: sender.stored() == {1}, "the honest result is stored")
    until(lambda: state(collector)[0] == "silent", "nothing came for three hours")
    before = state(collector)
    time.sleep(0.01)
    stolen = dt.datetime.now(dt.UTC).isoformat()
    for seq, days in ((2, 0), (3, 0), (4, 40)):
        at = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
        sender.send(result(seq, at=at.isoformat()))
    until(lambda: sender.stored() == {1, 2, 3, 4}, "the thief's are stored")
    until(lambda: state(collector)[0] != "silent", "the line seems to be alive")
    with_them = state(collector)

    which = ("nd-a", "--since", stolen, *WHO)
    would = answer(collector, "quarantine", *which, "--dry-run")
    assert (would["touched"]["results"], would["touched"]["changed"], would["dry_run"]) == (3, 3, True)
    assert (would["touched"]["kinds"], len(would["touched"]["days"])) == ({"latency": 3}, 2)
    assert answer(collector, "list")["entries"] == []
    said = xomnet(collector, "quarantine", *which)
    assert (said.returncode, said.stderr) == (0, "")
    assert "3 latency" in said.stdout
    until(lambda: state(collector) == before, "the line is as before the theft")
    (entry,) = answer(collector, "list", "nd-a")["entries"]
    assert (entry["action"], entry["basis"], entry["reason"]) == ("exclude", "received", "quarantine")
    assert (entry["note"], entry["by"]) == ("stolen from the hamlet", "Lan")

    sender.send(result(5))
    until(lambda: 5 in sender.stored(), "a quarantined unit is answered as ever")
    time.sleep(3)
    assert state(collector) == before, "what comes while the quarantine lasts is left out too"

    assert answer(collector, "release", "nd-a", "--reason", "found", "--by", "Lan")["touched"]["changed"] == 4
    until(lambda: state(collector)[0] == with_them[0], "its results count again")
    assert "counted" in xomnet(collector, "list").stdout


def test_what_can_not_be_meant_is_refused(collector: Collector) -> None:
    for arguments, why in (
        (["nd-aa", "--since", "2026-11-22"], "no unit 'nd-aa'; the closest: nd-a"),
        (["nd-a", "--line", "4g", "--since", "2026-11-22"], "has no line '4g'"),
        (["nd-a", "--since", "last week"], "write a date"),
        (["nd-a", "--since", "2026-11-22", "--until", "2026-11-21"], "is not after"),
        (["nd-a", "--since", "2199-01-01"], "has not come yet"),
    ):
        done = xomnet(collector, "quarantine", *arguments, *WHO)
        assert (done.returncode, done.stdout) == (2, "")
        assert why in done.stderr
        done = xomnet(collector, "quarantine", *arguments, *WHO, "--json")
        assert (done.returncode, done.stderr) == (2, "")
        assert why in json.loads(done.stdout)["error"]
    assert answer(collector, "list")["entries"] == []


def test_another_user_is_refused_before_a_file_is_made_that_the_collector_can_not_write(
    root: None, collector: Collector
) -> None:
    owner = (collector.folder / "state").stat().st_uid
    os.chown(collector.folder / "state", 54321, -1)
    try:
        done = xomnet(collector, "quarantine", "nd-a", "--since", "2026-11-22", *WHO)
    finally:
        os.chown(collector.folder / "state", owner, -1)
    assert done.returncode == 2
    assert "run this as that user" in done.stderr
