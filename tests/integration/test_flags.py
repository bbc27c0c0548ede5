"""Each flag is provoked for real: what disturbs a test beside it, and the table of where the others are."""

import ast
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.measure import download as download_module
from agent.measure.conditions import CPU_WAIT_SHARE
from agent.measure.download import download
from agent.measure.engines import Progress
from agent.measure.engines.http_stream import Stream
from agent.settings import LineSettings
from tests.support.modems import GOOD_LTE, LOCATION, WEAK_LTE, FakeMmcli, mmcli, modem, signal
from tests.support.netns_link import NetnsLink, cpu_quota, netns_link, outrun
from xomnet.contract.messages import FLAGS, Speed

pytestmark = pytest.mark.alone

__all__ = ["mmcli"]  # a fixture

RATE_MBPS = 50.0
ROOT = Path(__file__).parents[2]
ENGINE, PORTS, HERE = "integration/test_http_engine.py", "unit/test_interface.py", "integration/test_flags.py"

PROVOKED = {
    "cross_traffic": (HERE, "test_a_second_flow_beside_a_test_is_flagged"),
    "cpu_bound": (HERE, "test_a_receiver_that_had_to_wait_for_the_processor_is_flagged"),
    "throttled": ("unit/test_conditions.py", "test_throttling_that_came_and_went_during_a_test_is_flagged"),
    "link_below_target": (PORTS, "test_a_port_below_the_target_is_flagged"),
    "wifi": (PORTS, "test_wireless_is_flagged"),
    "rat_changed": (HERE, "test_a_modem_that_falls_back_to_3g_during_a_test_is_flagged"),
    "weak_radio": (HERE, "test_a_weak_signal_is_flagged_and_kept_with_the_result"),
    "clock_unsynced": ("unit/test_loop.py", "test_a_test_under_a_clock_that_is_not_set_is_flagged"),
    "server_busy": (ENGINE, "test_on_the_last_try_busy_is_the_result"),
    "server_fallback": (ENGINE, "test_where_the_first_server_is_busy_the_second_measures_and_that_is_flagged"),
    "no_steady_state": (ENGINE, "test_the_byte_cap_ends_a_test_and_is_flagged"),
    "capped_bytes": (ENGINE, "test_the_byte_cap_ends_a_test_and_is_flagged"),
    "portal": (ENGINE, "test_a_server_that_breaks_or_lies_is_a_failed_test_with_its_reason"),
    "payload_mismatch": (ENGINE, "test_a_server_that_breaks_or_lies_is_a_failed_test_with_its_reason"),
    "budget_skip": ("unit/test_loop.py", "test_a_test_that_the_budget_does_not_allow_is_skipped_and_flagged"),
    "link_down": (ENGINE, "test_a_line_that_is_cut_in_mid_transfer_is_down"),
    "unit_fault": (ENGINE, "test_an_interface_that_is_not_there_is_the_units_fault"),
    "audit": (ENGINE, "test_an_audit_runs_its_full_length"),
}
"""Flag -> the file below tests/ and the test in it that provokes it."""


def test_every_flag_has_a_test_that_provokes_it() -> None:
    assert PROVOKED.keys() == FLAGS
    for flag, (file, name) in PROVOKED.items():
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (flag, file, name)


@pytest.fixture
def side_link(root: None, tmp_path: Path) -> Iterator[NetnsLink]:
    with netns_link(tmp_path, RATE_MBPS) as found:
        yield found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of some seconds."""
    monkeypatch.setattr(download_module, "UNMETERED_MEASURED_S", 0.8)
    monkeypatch.setattr(download_module, "METERED_MEASURED_S", 0.8)


def run(way: NetnsLink, access: str = "fixed", **more: Any) -> Speed:
    line = LineSettings(line="one", access=access, interface=way.interface)  # type: ignore[arg-type]
    return download(line, [way.url], [], 200_000_000, threading.Event(), **more)


def seen(result: Speed) -> set[str]:
    """The flags of what went on beside it; so short a test may find no steady state."""
    assert result.error is None, result.error_detail
    return set(result.flags) - {"no_steady_state"}


def test_an_undisturbed_test_has_no_flag_and_sees_no_others(side_link: NetnsLink) -> None:
    """Headers, and what is under way at the end, are no other traffic: of 20 MB some kB are left."""
    found = run(side_link)
    assert seen(found) == set()
    assert found.bytes is not None
    assert found.other_bytes is not None
    assert found.other_bytes < 0.005 * found.bytes
    assert found.duration_s is not None
    assert found.cpu_wait_s is not None
    assert found.cpu_wait_s < CPU_WAIT_SHARE * found.duration_s
    assert found.radio is None


@pytest.mark.usefixtures("short")
def test_a_second_flow_beside_a_test_is_flagged(side_link: NetnsLink) -> None:
    with side_link.second_flow(mbps=5.0):
        found = run(side_link)
        assert seen(found) == {"cross_traffic"}
        assert found.other_bytes is not None
        assert found.duration_s is not None
        assert found.other_bytes * 8e-6 / found.duration_s == pytest.approx(5.0, rel=0.25)
        assert seen(run(side_link, cross_traffic_mbps=10.0)) == set(), "the operator allows more"


@pytest.mark.usefixtures("short")
def test_a_murmur_beside_a_test_is_not_flagged(side_link: NetnsLink) -> None:
    with side_link.second_flow(mbps=0.4):
        assert seen(run(side_link)) == set()


@pytest.mark.usefixtures("short")
def test_what_waits_behind_a_lost_packet_is_told_as_arrived(
    side_link: NetnsLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not yet readable, it would look like others' traffic: 6 % on a line whose shallow buffer loses much. Here, the
    kernel seems to hold a megabyte for each stream.
    """
    truly = Stream.kernel_memory
    monkeypatch.setattr(Stream, "kernel_memory", lambda stream: truly(stream) + 1_000_000)
    told: list[Progress] = []
    found = run(side_link, progress=told.append)
    assert found.bytes is not None
    assert told[-1].bytes > found.bytes + 500_000


@pytest.mark.usefixtures("short")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("starved", [outrun, cpu_quota], ids=["busy loops", "a cgroup's quota"])
def test_a_receiver_that_had_to_wait_for_the_processor_is_flagged(side_link: NetnsLink, starved: Any) -> None:
    """What starves it depends on the machine: a fast one needs little for 50 Mb/s, and a slow one takes minutes."""
    for share in (0.06, 0.02, 0.005):
        with starved(share):
            found = run(side_link)
        if "cpu_bound" in found.flags:
            break
    assert "cpu_bound" in found.flags
    assert found.cpu_wait_s is not None
    assert found.cpu_wait_s > 0.3


@pytest.mark.usefixtures("short")
def test_a_weak_signal_is_flagged_and_kept_with_the_result(side_link: NetnsLink, mmcli: FakeMmcli) -> None:
    ports = [f"{side_link.interface} (net)", "cdc-wdm0 (qmi)"]
    mmcli.say(modem(["lte"], ports=ports), signal(lte=WEAK_LTE), location=LOCATION)
    found = run(side_link, "mobile")
    assert seen(found) == {"weak_radio"}
    assert found.radio is not None
    assert (found.radio.technologies, found.radio.rsrp_dbm, found.radio.cell) == (("lte",), -113, "0197763E")


@pytest.mark.usefixtures("short")
def test_a_modem_that_falls_back_to_3g_during_a_test_is_flagged(side_link: NetnsLink, mmcli: FakeMmcli) -> None:
    ports = [f"{side_link.interface} (net)"]
    mmcli.say(modem(["lte"], ports=ports), signal(lte=GOOD_LTE))
    asked_before: list[int] = []

    def falls_back(told: Progress) -> None:
        if not asked_before:
            mmcli.say(modem(["hspa-plus"], ports=ports), signal())
        asked_before.append(len(mmcli.calls()))

    found = run(side_link, "mobile", progress=falls_back)
    assert seen(found) == {"rat_changed"}
    assert found.radio is not None
    assert found.radio.technologies == ("hspa-plus",)
    assert len(set(asked_before)) == 1, "nothing is asked while the test runs"
    assert len(mmcli.calls()) == 2 * asked_before[0]


@pytest.mark.usefixtures("short")
def test_a_fixed_line_has_no_modem_to_ask(side_link: NetnsLink, mmcli: FakeMmcli) -> None:
    assert run(side_link).radio is None
    assert mmcli.calls() == []


@pytest.mark.usefixtures("short")
def test_a_mobile_line_without_a_modem_that_answers_is_measured_all_the_same(
    side_link: NetnsLink, mmcli: FakeMmcli, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seen(run(side_link, "mobile")) == set(), "a stick that is a router"
    monkeypatch.setenv("PATH", os.defpath)
    assert seen(run(side_link, "mobile")) == set(), "no mmcli"
