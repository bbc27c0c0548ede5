"""Outages that go on over a restart of the agent, or of the unit."""

import datetime as dt
from pathlib import Path

import pytest

from agent.clock.clock import ClockReading
from agent.clock.timestamps import server_reference
from agent.delivery.spool import Spool
from agent.measure.outage import EndedOutage, Watch, parse_watch, to_text
from agent.measure.outage_watch import OutageWatches, spool_key
from tests.unit.test_budget import full_disk
from tests.unit.test_spool import BOOT, NEXT_BOOT, START, at

ANCHORS = ("1.1.1.1",)
DAY = dt.timedelta(days=1)


def opened(folder: Path, next_boot: bool = False) -> Spool:
    return Spool(folder / "spool.db", "nd-a-1", NEXT_BOOT if next_boot else BOOT)


def silence(watches: OutageWatches, *seconds: float, synced: bool = True) -> None:
    for second in seconds:
        assert watches.after_probe("ftth", False, at(second, synced), ANCHORS) is None


def tomorrow(seconds: float, synced: bool = True) -> ClockReading:
    return ClockReading(START + DAY + dt.timedelta(seconds=seconds), round(seconds * 1e9), synced)


def committed(spool: Spool, ended: EndedOutage) -> None:
    spool.commit(ended.outage, "ftth", ended.began, error_s=ended.error_s, clear_key=spool_key("ftth"))


def test_an_outage_goes_on_after_a_restart_of_the_agent(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    silence(OutageWatches(spool), 100, 115, 130)
    spool.close()
    spool = opened(tmp_path)
    watches = OutageWatches(spool)
    assert watches.watch_of("ftth").suspicious  # the next probe comes soon
    silence(watches, 145)
    ended = watches.after_probe("ftth", True, at(160), ANCHORS)
    assert ended is not None
    assert (ended.began, ended.outage.duration_s, ended.error_s) == (at(100), 60, None)
    committed(spool, ended)
    assert OutageWatches(spool).watch_of("ftth") == Watch()
    assert OutageWatches(spool).watch_of("4g") == Watch()
    spool.close()


def test_one_failed_probe_is_not_written_down(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    silence(OutageWatches(spool), 100)
    assert OutageWatches(spool).watch_of("ftth") == Watch()
    spool.close()


def test_an_outage_is_written_down_once_however_long_it_is(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    watches = OutageWatches(spool)
    silence(watches, 100, 115)
    changes = spool._db.total_changes
    silence(watches, *range(130, 1000, 15))
    assert spool._db.total_changes == changes
    spool.close()


@pytest.mark.parametrize("synced_then", [True, False])
def test_one_that_spans_a_power_cut_is_estimated_by_the_times_of_both_boots(tmp_path: Path, synced_then: bool) -> None:
    spool = opened(tmp_path)
    if not synced_then:
        spool.learn_time(server_reference(at(50).wall, at(49).boot_ns, at(51).boot_ns))
    silence(OutageWatches(spool), 100, 115, synced=synced_then)
    spool.close()
    spool = opened(tmp_path, next_boot=True)
    watches = OutageWatches(spool)
    assert watches.after_probe("ftth", True, tomorrow(20, synced=False), ANCHORS) is None  # nobody knows the time
    ended = watches.after_probe("ftth", True, tomorrow(40), ANCHORS)
    assert ended is not None
    assert ended.outage.duration_s == pytest.approx(86_400 - 60, abs=3)
    assert ended.error_s is not None
    assert abs((ended.began.wall - at(100).wall).total_seconds()) <= ended.error_s < 3
    committed(spool, ended)
    assert watches.after_probe("ftth", True, tomorrow(50), ANCHORS) is None
    assert OutageWatches(spool).watch_of("ftth") == Watch()
    spool.close()


def test_an_end_that_a_full_disk_refused_does_not_come_back_as_a_long_outage(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    watches = OutageWatches(spool)
    silence(watches, 100, 115)
    assert watches.after_probe("ftth", True, at(130), ANCHORS) is not None  # and its commit fails
    with full_disk((tmp_path / "spool.db-wal").stat().st_size):
        assert watches.after_probe("ftth", True, at(430), ANCHORS) is None
    assert watches.after_probe("ftth", True, at(730), ANCHORS) is None
    assert OutageWatches(spool).watch_of("ftth") == Watch()
    spool.close()


def test_a_text_that_is_damaged_is_no_outage() -> None:
    text = to_text(Watch(at(5), 2), "boot")
    assert text is not None
    assert parse_watch(text, "boot") == Watch(at(5), 2)
    assert parse_watch(text, "other") == Watch(at(5), 2, "boot")
    assert parse_watch(text[:-2], "boot") == parse_watch(None, "boot") == parse_watch("\ufffd{}", "boot") == Watch()
