"""`xomnet replay`: a database that was lost, or another one, holds what the archive holds, to the last digit."""

import json
import shutil
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from collector.archive.files import DAY, LOG, days_of
from collector.archive.sealing import seal
from collector.store.factory import open_store
from tests.support.deployment import Collector, until
from tests.support.rebuilt import DAYS, LINES, Contents, Deployment, measured, messages
from tests.support.sender import Sender, result
from tests.support.services import InfluxV2

RESULTS = sum(1 for _ in messages())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """On SQLite."""
    one = Deployment(tmp_path_factory.mktemp("province") / "original")
    measured(one)
    return one


@pytest.fixture(scope="module")
def contents(original: Deployment) -> Contents:
    return original.contents()


def bucket() -> str:
    return f"replay-{uuid.uuid4().hex[:12]}"


def the_same(found: Contents, expected: Contents) -> None:
    """Part by part, so that a failure is short."""
    assert found.exclusions == expected.exclusions
    assert found.closed == expected.closed
    for key, rows in expected.rows.items():
        assert found.rows[key] == rows, key
    assert found.verdicts == expected.verdicts
    assert found.figures.keys() == expected.figures.keys()
    assert {key: (found.figures[key], of) for key, of in expected.figures.items() if found.figures[key] != of} == {}


def test_what_is_compared_has_something_of_everything(contents: Contents) -> None:
    speeds = [row for (_, kind), rows in contents.rows.items() if kind == "speed" for row in rows]
    assert any(row.late for row in speeds)
    assert all(row.received_ms for row in speeds)
    assert {measurement for measurement, *_ in contents.figures} == {
        f"{of}_{size}" for of in ("line", "place") for size in ("hour", "day", "month")
    }
    excluded = [dict(verdict.excluded_for) for verdict in contents.verdicts.values()]
    assert any("quarantine" in one for one in excluded)
    assert any("late" in one for one in excluded)
    assert len(contents.closed) == len(contents.exclusions) == 1


def test_a_lost_database_is_built_again_and_once_more_changes_nothing(
    tmp_path: Path, original: Deployment, contents: Contents
) -> None:
    again = Deployment(tmp_path / "again", archive=original.settings.archive_folder)
    first = again.answer("--dry-run")
    assert (first["status"], first["added"], first["exclusions"], first["closed_months"]) == (0, RESULTS, 1, 1)
    assert not any(again.contents().rows.values())
    found = again.answer()
    assert (found["status"], found["results"], found["added"], found["refused"]) == (0, RESULTS, RESULTS, {})
    assert (found["exclusions"], found["closed_months"], found["days"], found["months"]) == (1, 1, len(DAYS), 2)
    the_same(again.contents(), contents)
    second = again.answer()
    counts = (second["added"], second["stored_before"], second["exclusions"], second["closed_months"])
    assert counts == (0, RESULTS, 0, 0)
    the_same(again.contents(), contents)


def test_a_move_to_influxdb_and_from_one_to_another(
    tmp_path: Path, original: Deployment, contents: Contents, influx_v2: InfluxV2
) -> None:
    sealed = tmp_path / "archive"
    shutil.copytree(original.settings.archive_folder, sealed)
    for day in days_of(sealed, LOG):
        seal(sealed, day)
    assert days_of(sealed, DAY)
    for name in ("one", "another"):
        moved = Deployment(tmp_path / name, influx_v2, bucket(), sealed)
        found = moved.answer()
        assert (found["status"], found["added"]) == (0, RESULTS)
        the_same(moved.contents(), contents)
    assert moved.answer()["added"] == 0
    the_same(moved.contents(), contents)


def test_one_that_is_killed_goes_on_where_it_is_run_again(
    tmp_path: Path, original: Deployment, contents: Contents, influx_v2: InfluxV2
) -> None:
    moved = Deployment(tmp_path / "moved", influx_v2, bucket(), original.settings.archive_folder)
    for passes in (2, 8):  # among the results, and among the days
        done = moved.replay(XOMNET_FAILPOINT=f"influx.answered:{passes}")
        assert done.returncode == 2
        assert "run this again" in done.stderr
    assert moved.answer()["status"] == 0
    the_same(moved.contents(), contents)


def test_beside_a_running_collector_it_adds_nothing_twice(collector: Collector, sender: Sender) -> None:
    def replay() -> dict[str, int]:
        command = [sys.executable, "-m", "collector.archive.replay_command", "--config", "collector.yaml", "--json"]
        done = subprocess.run(command, cwd=collector.folder, capture_output=True, text=True, timeout=100, check=True)
        found: dict[str, int] = json.loads(done.stdout)
        return found

    for seq in range(1, 41):
        sender.send(result(seq))
    until(lambda: len(sender.stored()) == 40, "all are stored")
    assert replay()["added"] == 0
    collector.stop()
    (collector.folder / "store.db").rename(collector.folder / "lost.db")
    collector.start()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(replay)
        for seq in range(41, 81):
            sender.send(result(seq))
        assert running.result()["added"] <= 80
    until(lambda: len(sender.stored()) == 80, "all are stored")
    assert replay()["stored_before"] == 80
    assert len(collector.get("/api/v1/lines/nd-a/ftth/latency")["results"]) == 80


def test_its_processes_end_with_it(tmp_path: Path, original: Deployment) -> None:
    again = Deployment(tmp_path / "again", archive=original.settings.archive_folder)
    command = [sys.executable, "-m", "collector.archive.replay_command", "--config", str(again.config)]
    with subprocess.Popen([*command, "--processes", "2"], stderr=subprocess.DEVNULL) as process:
        until(lambda: len(psutil.Process(process.pid).children()) >= 3, "its processes run")
        children = psutil.Process(process.pid).children()
        process.kill()
    assert psutil.wait_procs(children, timeout=30)[1] == []


def test_damage_costs_its_block_alone_and_is_said_with_file_and_bytes(tmp_path: Path, original: Deployment) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(original.settings.archive_folder, folder)
    damaged = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    again = Deployment(tmp_path / "again", archive=folder)
    found = again.answer()
    assert found["status"] == 1
    assert 0 < found["added"] < RESULTS
    (word,) = found["damaged"]
    assert word.startswith(f"{damaged}: damaged, ")
    assert " bytes from byte " in word
    done = again.replay()
    assert f"  {word}: its records are lost unless a backup has the file whole\n" in done.stdout


def test_what_was_lost_before_its_day_was_sealed_is_said_too(tmp_path: Path, original: Deployment) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(original.settings.archive_folder, folder)
    (log,) = folder.glob("*.log")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    assert seal(folder, log.name[:10]) is not None
    found = Deployment(tmp_path / "again", archive=folder).answer()
    assert (found["status"], found["damaged"]) == (1, [f"{log}.damaged: was damaged when its day was sealed"])


def test_what_is_refused_now_is_counted_and_named(tmp_path: Path, original: Deployment) -> None:
    again = Deployment(tmp_path / "again", archive=original.settings.archive_folder)
    registry = again.config.parent / "lines.csv"
    text = registry.read_text().splitlines(keepends=True)
    registry.write_text("".join(line for line in text if not line.startswith(f"{LINES[0].agent},4g")))
    found = again.answer()
    assert found["status"] == 1
    lost = sum(b'"line":"4g"' in one.payload for one in messages() if one.agent == LINES[0].agent)
    assert found["refused"] == {"unknown_line": lost}
    assert found["examples"]["unknown_line"].startswith(f"{LINES[0].agent}, received 20")
    registry.write_text("".join(text))
    assert again.answer()["added"] == lost, "corrected, and run again"


def test_days_are_those_of_receipt(tmp_path: Path, original: Deployment) -> None:
    again = Deployment(tmp_path / "again", archive=original.settings.archive_folder)
    day = str((DAYS[1].astimezone(again.registry.zone)).date())
    found = again.answer("--since", day, "--until", day)
    assert found["status"] == 0
    assert RESULTS / 3 < found["added"] < RESULTS / 2
    assert (found["exclusions"], found["closed_months"]) == (1, 1), "of whatever day they are"
    store = open_store(again.settings)
    counts = store.figures.counts(DAYS[0], DAYS[1])
    store.close()
    assert counts == {}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--since", "October"], "--since: found 'October'; write a day such as 2026-10-01"),
        (["--since", "2026-10-02", "--until", "2026-10-01"], "--until 2026-10-01 is before --since 2026-10-02"),
        ([], "there is no archive; name its folder with --archive"),
    ],
)
def test_what_it_can_not_do_it_says_with_a_remedy(tmp_path: Path, flags: list[str], said: str) -> None:
    done = Deployment(tmp_path / "empty").replay(*flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert said in Deployment(tmp_path / "again").answer(*flags)["error"]


def test_without_the_state_folder_it_asks_for_its_backup(tmp_path: Path) -> None:
    at = Deployment(tmp_path / "bare")
    at.settings.state_dir.rmdir()
    done = at.replay("--archive", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "put back its backup, or create it" in done.stderr
