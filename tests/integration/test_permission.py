"""The permission to measure on real parts: from the collector with an answer, by the unit, to a measurement server."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.deployment import Collector, MeasureServer, Unit, made, plain, until
from tests.support.permissions import PermissionKey
from tests.support.services import Mosquitto
from xomnet.contract.permission import parse_permission

ROW = "nd-a,ftth,fixed,Xóm 5,Ninh Bình/xã Hải Anh,VNPT,2026-01-01"
ENDED = 'event="test ended"'


@pytest.fixture
def key(tmp_path: Path) -> PermissionKey:
    return PermissionKey(tmp_path)


@pytest.fixture
def server(tmp_path: Path, key: PermissionKey) -> Iterator[MeasureServer]:
    with MeasureServer(made(tmp_path, "server"), 60, "--permission-key", str(key.public)) as server:
        yield server


def ended_tests(server: MeasureServer, permitted: bool) -> int:
    """How many tests it has logged of permitted units, or of strangers."""
    ended = [line for line in server.output(1_000_000).splitlines() if ENDED in line]
    return sum(("unit=nd-a" in line) == permitted for line in ended)


def permission_of(unit: Unit) -> str | None:
    database = sqlite3.connect(f"file:{unit.folder}/state/spool.db?mode=ro", uri=True, timeout=5)
    try:
        row = database.execute("SELECT value FROM meta WHERE key = 'kept/permission'").fetchone()
        return None if row is None else str(row[0])
    finally:
        database.close()


def test_a_unit_shows_what_the_collector_gave_it_also_after_a_restart_without_a_collector(
    tmp_path: Path, mosquitto: Mosquitto, key: PermissionKey, server: MeasureServer
) -> None:
    broker = plain(mosquitto)
    with Unit(made(tmp_path, "unit"), "nd-a", broker, server.url) as unit:
        with Collector(made(tmp_path, "collector"), broker, [ROW], permission_key=str(key.private)) as collector:
            until(lambda: ended_tests(server, permitted=True) >= 1, "a permitted test", 60)
            first = permission_of(unit)
            assert first is not None
            found = parse_permission(first)
            assert found is not None
            assert found.unit == "nd-a"
            stored = collector.metric("xomnet_results_stored_total")
            until(lambda: collector.metric("xomnet_results_stored_total") > stored + 2, "more answers")
            assert permission_of(unit) == first, "it comes some times a day"
        before = ended_tests(server, permitted=True)
        unit.restart()
        until(lambda: ended_tests(server, permitted=True) > before, "a permitted test after the restart", 60)


def test_a_collector_without_the_key_and_a_server_without_it_go_on_as_before(
    tmp_path: Path, mosquitto: Mosquitto, key: PermissionKey, server: MeasureServer
) -> None:
    broker = plain(mosquitto)
    with (
        Collector(made(tmp_path, "collector"), broker, [ROW]) as collector,
        Unit(made(tmp_path, "unit"), "nd-a", broker, server.url) as unit,
    ):
        until(lambda: ended_tests(server, permitted=False) >= 1, "a stranger's test", 60)
        until(lambda: collector.metric("xomnet_results_stored_total") >= 3, "results are stored")
        assert permission_of(unit) is None
    with (
        MeasureServer(made(tmp_path, "old"), 60) as old,
        Collector(made(tmp_path, "new"), broker, [ROW], permission_key=str(key.private)),
        Unit(made(tmp_path, "shows"), "nd-a", broker, old.url) as unit,
    ):
        until(lambda: permission_of(unit) is not None, "a permission", 60)
        before = ended_tests(old, permitted=False)
        until(lambda: ended_tests(old, permitted=False) > before, "a test that shows it to nobody who asks", 60)
        assert ended_tests(old, permitted=True) == 0


def test_a_collector_whose_key_is_open_to_others_does_not_start(tmp_path: Path, key: PermissionKey) -> None:
    key.private.chmod(0o644)
    folder = made(tmp_path, "collector")
    with pytest.raises(ChildProcessError, match="chmod 600"):
        Collector(folder, {"host": "127.0.0.1", "port": 1}, [ROW], permission_key=str(key.private)).start()


def test_a_server_whose_key_is_none_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nonsense")
    folder = made(tmp_path, "server")
    for arguments, said in (
        (("--permission-key", str(tmp_path / "key")), "no public key"),
        (("--permission-key", str(tmp_path / "none")), "No such file"),
        (("--permission-key", str(tmp_path / "key"), "--max-tests", "2"), "allowed: more than --stranger-tests"),
    ):
        server = MeasureServer(folder, 60, *arguments)
        with pytest.raises(ChildProcessError, match=said):
            server.start()
        assert server.status == 2
