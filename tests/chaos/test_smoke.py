"""A hundred kills, five thousand results, every fault at least once: nothing lost, nothing doubled, nothing altered."""

import os
import time
from pathlib import Path

import pytest

from tests.chaos.province import Province, keep
from tests.chaos.storm import ALL_POINTS, BROKER, FAULTS, FEEDERS, Storm

SEED = int(os.environ.get("CHAOS_SEED", "20261122"))
KILLS, RESULTS = 100, 5000


@pytest.mark.alone
@pytest.mark.timeout(290)
def test_nothing_is_lost_doubled_or_altered_in_a_storm(tmp_path: Path) -> None:
    feeders = {name: how | {"pace": 25.0, "seed": SEED} for name, how in FEEDERS.items()}
    print(f"CHAOS_SEED={SEED}")
    with Province(tmp_path / "province", feeders, unit=True, broker_settings=BROKER) as province:
        storm = Storm(province, SEED, KILLS, RESULTS, limit_s=150)
        began = time.monotonic()
        storm.rage()
        raged = time.monotonic()
        province.heal()
        province.drain(90)
        print(f"storm {raged - began:.0f} s, drained after {time.monotonic() - raged:.0f} s")
        report = province.judge()
        if report.violations:
            print(f"histories in {keep(province, f'smoke-{SEED}')}")
    print(report.counts, dict(storm.kills), dict(storm.died_at), dict(storm.faults))
    assert not report.violations
    assert storm.died_at.keys() == ALL_POINTS
    assert len(storm.faults) == FAULTS
    assert storm.kills.keys() == {"unit", "broker", "collector", "influx"}
    assert min(storm.kills.values()) >= 5
    assert storm.total >= KILLS
    assert report.counts["committed"] >= RESULTS
    assert report.counts["read_after_kill"] > 0
    assert report.counts["rejected"] > 0
    assert report.counts["evicted"] > 0
