"""The checker finds real bugs in real processes: each scenario is clean without its bug, and a violation with it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.chaos.buggy import BUGS
from tests.chaos.observer import stored_of
from tests.chaos.province import Province, eventually
from tests.support.deployment import until


def more(province: Province, results: int) -> None:
    """Waits until this many more results are committed."""
    before = province.committed()
    until(lambda: province.committed() >= before + results, "results are committed")


def the_database_is_killed_after_an_ack(province: Province) -> None:
    province.shim.answer = "503"
    asked = province.witness.quiet(2)  # what was under way comes, and then nothing, as long as nothing is stored
    province.influx.kill()
    province.influx.start()
    found = stored_of(province.influx, asked)
    province.history.say("read", asked=asked, found=[one for one in asked if one in found])


def the_broker_is_killed_with_a_full_queue(province: Province) -> None:
    province.collector.kill()
    more(province, 30)
    time.sleep(0.5)
    province.broker.kill()


def a_connection_is_reset_before_the_ack(province: Province) -> None:
    province.shim.answer = "503"
    more(province, 20)
    province.unit_proxy.set("reset")
    time.sleep(0.2)
    province.unit_proxy.set("pass")
    more(province, 60)


def the_collector_dies_between_store_and_ack(province: Province) -> None:
    province.collector.kill()
    province.collector.arm("intake.stored:1")
    province.collector.start()
    assert eventually(lambda: province.collector.died_at() == "intake.stored", 10)


def the_collector_is_killed_with_messages_in_its_hands(province: Province) -> None:
    province.shim.answer = "503"
    more(province, 20)
    time.sleep(1)
    province.collector.kill()


def the_spool_is_full(province: Province) -> None:
    province.broker.kill()
    more(province, 100)


def the_collector_dies_between_archive_and_ack(province: Province) -> None:
    province.collector.kill()
    province.collector.arm("intake.archived:1")
    province.collector.start()
    assert eventually(lambda: province.collector.died_at() == "intake.archived", 10)
    province.collector.arm(None)
    province.collector.start()
    more(province, 100)


def acks_are_lost(province: Province) -> None:
    province.unit_proxy.set("cut_down")
    time.sleep(1)
    province.unit_proxy.set("reset")
    province.unit_proxy.set("pass")
    more(province, 60)


class Scenario(NamedTuple):
    bug: str
    invariant: str
    torment: Callable[[Province], None]
    spool_bytes: int = 100_000_000
    sends: float | None = None
    """How often a result may go out on average, where nothing but the bug makes it go again."""


SCENARIOS = (
    Scenario("ack_before_store", "I5", the_database_is_killed_after_an_ack),
    Scenario("puback_is_stored", "I1", the_broker_is_killed_with_a_full_queue),
    Scenario("fresh_timestamp", "I3", a_connection_is_reset_before_the_ack),
    Scenario("mutable_tag", "I3", the_collector_dies_between_store_and_ack),
    Scenario("clean_start", "I8", the_collector_is_killed_with_messages_in_its_hands, sends=1.0),
    Scenario("silent_eviction", "I1", the_spool_is_full, spool_bytes=12_000),
    Scenario("forgetful_archive", "I12", the_collector_dies_between_archive_and_ack),
    Scenario("moving_receipt", "I11", acks_are_lost),
)


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Callable[..., Province]]:
    with ExitStack() as stack:
        yield lambda *args, **more: stack.enter_context(Province(tmp_path / "province", *args, **more))


def report_of(province: Province, scenario: Scenario) -> set[str]:
    """The invariants that are broken in the end."""
    assert province.witness.last_acks(10), "results flow"
    scenario.torment(province)
    province.heal()
    province.drain(60)
    return province.judge().broken


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.bug)
@pytest.mark.parametrize("with_bug", [True, False], ids=["bug", "control"])
def test_the_checker_finds_the_bug(province: Callable[..., Province], scenario: Scenario, with_bug: bool) -> None:
    feeders = {"nd-a": {"pace": 50.0, "spool_bytes": scenario.spool_bytes}}
    bug = scenario.bug if with_bug else None
    limits = {} if scenario.sends is None else {"sends": scenario.sends}
    broken = report_of(province(feeders, bug=bug, limits=limits), scenario)
    if with_bug:
        assert scenario.invariant in broken
    else:
        assert not broken


def test_each_bug_has_its_scenario() -> None:
    assert {scenario.bug for scenario in SCENARIOS} == BUGS.keys()
