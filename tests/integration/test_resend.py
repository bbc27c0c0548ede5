"""Rejected results get in after all, once the registry is corrected: exactly once, beside a running collector."""

import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collector.ingest.dead_letters import DeadLetters, dead_letter, digest_of
from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, SPOOL, Sender, result
from tests.support.services import Mosquitto
from tests.support.stored import NOW

SECOND = "nd-a,4g,mobile,Xóm 5,Nam Định/Hải Hậu/Hải Minh,Viettel,2026-01-01\n"


def command(collector: Collector, *flags: str) -> subprocess.CompletedProcess[str]:
    """`xomnet collector resend`, as a person types it."""
    line = [sys.executable, "-c", "from xomnet_cli import main; main()", "collector", "resend"]
    config = ["--config", str(collector.folder / "collector.yaml")]
    return subprocess.run([*line, *config, *flags], capture_output=True, text=True, timeout=60, check=False)


def answer(collector: Collector, *flags: str) -> tuple[int, dict[str, Any]]:
    done = command(collector, "--json", *flags)
    assert done.stdout.count("\n") == 1, done.stderr
    return done.returncode, json.loads(done.stdout)


def stored(collector: Collector, line: str) -> int:
    return len(collector.get(f"/api/v1/lines/nd-a/{line}/latency")["results"])


def correct_registry(collector: Collector) -> None:
    """The line that was forgotten is registered."""
    registry = collector.folder / "lines.csv"
    registry.write_text(registry.read_text() + SECOND)


def test_a_line_that_was_forgotten_gets_its_results_beside_a_running_collector(
    sender: Sender, collector: Collector
) -> None:
    for seq in range(1, 6):
        sender.send(result(seq, line="4g"))
    sender.send(b"no json")
    sender.send(result(6, agent="nd-b"))
    until(lambda: len(sender.rejected()) == 6, "all are rejected")
    assert answer(collector) == (1, answer(collector, "--dry-run")[1] | {"dry_run": False})
    correct_registry(collector)
    status, said = answer(collector, "--dry-run")
    assert (status, said["letters"], said["stored"], said["dry_run"]) == (1, 7, 5, True)
    assert said["refused"] == {"malformed": 1, "foreign_agent": 1}
    until(lambda: "4g" in {line["line"] for line in collector.get("/api/v1/lines")["lines"]}, "the line is registered")
    assert stored(collector, "4g") == 0

    said = answer(collector)[1]
    assert (said["letters"], said["stored"]) == (7, 5)
    assert {one["code"] for one in said["still"]} == {"malformed", "foreign_agent"}
    assert stored(collector, "4g") == 5
    assert collector.get("/api/v1/rejected")["counts"] == {"malformed": 1, "foreign_agent": 1}

    assert answer(collector)[1]["stored"] == 0
    assert stored(collector, "4g") == 5
    sender.send(result(9, line="5g"))
    until(lambda: 9 in sender.rejected(), "the collector goes on with the same file")
    assert collector.get("/api/v1/rejected")["counts"]["unknown_line"] == 1


def test_completeness_counts_what_was_stored_in_the_end(tmp_path: Path, mosquitto: Mosquitto) -> None:
    quick = {"every_s": 0.2, "grace_s": 1}
    with Collector(made(tmp_path, "collector"), plain(mosquitto), ROWS, completeness=quick) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        sender = Sender(mosquitto.port)
        sender.send(result(1, line="4g"))
        sender.send(result(2))
        digests = {"4g": "6b86b273ff34fce19d6b804eff5a3f57", "ftth": "d4735e3a265e16eee03f59718b9b5d03"}
        correct_registry(collector)
        until(lambda: "4g" in {line["line"] for line in collector.get("/api/v1/lines")["lines"]}, "it is registered")
        for seq, (line, digest) in enumerate(digests.items(), 3):
            data = {"name": "manifest", "first_seq": 1, "last_seq": 2, "count": 1, "digest": digest}
            sender.send(result(seq, line=line, kind="event", data=data))

        def tallies() -> dict[str, tuple[int, int]]:
            lines = collector.get("/api/v1/completeness")["lines"]
            return {one["line"]: (one["stored"], one["rejected"]) for one in lines if one["agent"] == "nd-a"}

        until(lambda: tallies() == {"4g": (0, 1), "ftth": (1, 0)}, "the manifests are seen")
        assert answer(collector)[0] == 0
        until(lambda: tallies() == {"4g": (1, 0), "ftth": (1, 0)}, "it is counted again")
        assert collector.metric("xomnet_completeness_ratio") == 1
        sender.close()


def test_it_works_without_a_collector_and_says_so_in_words(sender: Sender, collector: Collector) -> None:
    sender.send(result(1, line="4g"))
    until(sender.rejected, "it is rejected")
    collector.stop()
    done = command(collector)
    assert done.returncode == 1
    assert "rejected results: 1; stored now: 0; still rejected: 1" in done.stdout
    assert "1 unknown_line, for example: line '4g' of 'nd-a' was not registered" in done.stdout
    correct_registry(collector)
    done = command(collector)
    assert (done.returncode, done.stdout) == (0, "rejected results: 1; stored now: 1; still rejected: 0\n")
    collector.start()
    assert collector.get("/api/v1/rejected") == {"counts": {}, "rejected": []}
    assert stored(collector, "4g") == 1


def test_a_clock_that_was_ahead_is_not_right_because_time_has_passed(sender: Sender, collector: Collector) -> None:
    sender.send(result(1, at="2099-01-01T00:00:00Z"))
    until(sender.rejected, "it is rejected")
    letters = collector.folder / "state/dead-letters.jsonl"
    old = json.loads(letters.read_text())
    corrected = old["payload"].replace("2099-01-01", "2026-05-01")
    letters.write_text(json.dumps({**old, "payload": corrected, "at": "2026-04-01T00:00:00Z"}) + "\n")
    assert answer(collector)[1]["refused"] == {"future": 1}


@pytest.mark.parametrize("what", ["settings", "registry", "store"])
def test_what_can_not_be_done_says_why_and_touches_nothing(sender: Sender, collector: Collector, what: str) -> None:
    sender.send(result(1, line="4g"))
    until(sender.rejected, "it is rejected")
    collector.stop()
    letters = collector.folder / "state/dead-letters.jsonl"
    before = letters.read_bytes()
    broken = {"settings": "collector.yaml", "registry": "lines.csv", "store": "store.db"}[what]
    (collector.folder / broken).write_text("{}\n")
    done = command(collector)
    assert done.returncode == 2
    assert broken in done.stderr
    assert "Traceback" not in done.stderr
    assert letters.read_bytes() == before


@pytest.mark.usefixtures("root")
def test_another_user_is_told_whose_files_they_are(collector: Collector) -> None:
    os.chown(collector.folder / "state", 12345, -1)
    done = command(collector)
    assert done.returncode == 2
    assert "belongs to user 12345; run this as that user, with sudo -u" in done.stderr


# --- the file itself


def letters_of(folder: Path, seqs: range) -> list[Any]:
    return [dead_letter("t", b"x" * 50, "future", "", NOW, agent="nd-a", spool=SPOOL, seq=seq) for seq in seqs]


def test_a_letter_that_comes_while_others_are_taken_out_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    here, there = DeadLetters(path), DeadLetters(path)
    marks = {digest_of(msgspec.json.encode(one)) for one in letters_of(tmp_path, range(0, 400, 2))}
    ended = threading.Event()

    def remove() -> None:
        while not ended.is_set():
            there.remove(marks)

    thread = threading.Thread(target=remove)
    thread.start()
    for seq in range(400):
        assert here.append(letters_of(tmp_path, range(seq, seq + 1)))
    ended.set()
    thread.join()
    there.remove(marks)
    left = [one.seq for one in DeadLetters(path).read_all()]
    assert left == list(range(1, 400, 2))
    assert here.counts() == {"future": 200}
    assert oct(path.stat().st_mode & 0o777) == "0o600"


def test_both_generations_are_read_and_cleared(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead.jsonl", max_bytes=2_000)
    for seq in range(15):
        assert dead.append(letters_of(tmp_path, range(seq, seq + 1)))
    found = {one.seq for one in dead.read_all()}
    assert (tmp_path / "dead.jsonl.1").exists()
    assert len(found) > 9
    before = dead.edition
    dead.remove({digest_of(msgspec.json.encode(one)) for one in dead.read_all() if one.seq != 14})
    assert dead.counts() == {"future": 1}
    assert dead.edition != before
    assert uuid.UUID(dead.recent()[0].spool) == uuid.UUID(SPOOL)


def test_rubbish_of_one_unit_pushes_out_nothing_of_another(tmp_path: Path) -> None:
    dead = DeadLetters(tmp_path / "dead.jsonl", max_bytes=500_000)
    assert dead.append(letters_of(tmp_path, range(20)))
    rubbish = [dead_letter("t", b"x" * 9_000, "malformed", "", NOW, agent="nd-thief") for _ in range(10)]
    for _ in range(40):
        assert dead.append(rubbish)
    assert dead.append(letters_of(tmp_path, range(20, 30)))
    kept = [one.seq for one in dead.read_all() if one.agent == "nd-a"]
    assert kept == list(range(30))
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000
    assert sum(one.agent == "nd-a" for one in dead.recent()) == 30
    assert len(dead.recent()) == 200
    assert dead.counts() == DeadLetters(tmp_path / "dead.jsonl").counts()
