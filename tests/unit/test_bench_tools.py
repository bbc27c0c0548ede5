"""What the benchmark says a tool costs, and the parts beside the tools that we wrote ourselves."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from bench import rivals, tools
from bench.rivals import ndt7_server
from bench.rivals.librespeed import librespeed_cli
from bench.tools import Run, accounted, row, table

PRINT_AND_REST = "import mmap, time; asked_for = mmap.mmap(-1, 500_000_000); print(1, flush=True); time.sleep(0.5)"


def here(command: list[str]) -> list[str]:
    return command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_cpu_of_the_transfer_is_without_the_start() -> None:
    assert Run(100.0, 250_000_000, 10.0, 1.5, 0.5, 1).cpu_s_per_gigabit == pytest.approx(0.5)


def test_a_row_has_medians() -> None:
    runs = [
        Run(99.0, 10_000_000, 5.0, 0.3, 0.1, 30_000_000),
        Run(101.0, 12_500_000, 4.0, 0.3, 0.1, 10_000_000),
        Run(90.0, 50_000_000, 6.0, 0.3, 0.1, 20_000_000),
    ]
    assert row("ours", runs, 100.0) == "| ours | -1.00 | 12 | 5.0 | 2.000 | 20 |"
    assert [line.count("|") for line in table({"ours": runs, "theirs": runs}, 100.0).splitlines()] == [7] * 4


def test_memory_is_the_tools_own_and_not_its_parents() -> None:
    big = b"x" * 200_000_000  # every page of it in memory, and inherited by a fork
    _, small = accounted(here, python(PRINT_AND_REST), python(""))
    _, large = accounted(here, python(f"kept = b'x' * 100_000_000; del kept; {PRINT_AND_REST}"), python(""))
    assert len(big) == 200_000_000
    assert 2_000_000 < small.peak_rss_bytes < 60_000_000
    assert 95_000_000 < large.peak_rss_bytes - small.peak_rss_bytes < 110_000_000


def test_the_start_of_a_program_is_measured_before_and_after_it() -> None:
    began: list[str] = []

    def noted(command: list[str]) -> list[str]:
        began.append(command[-1])
        return command

    work = "sum(range(10_000_000))"
    _, cost = accounted(noted, python(work), python(""))
    assert began == [*[""] * tools.STARTS, work, *[""] * tools.STARTS]
    assert 0 < cost.start_cpu_s < cost.cpu_s


def test_a_tool_that_fails_is_no_run() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        accounted(here, python("print('why'); raise SystemExit(3)"), python(""))
    assert (failed.value.returncode, failed.value.output) == (3, b"why\n")


def test_a_tool_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "LIMIT_S", 0.2)
    with pytest.raises(subprocess.TimeoutExpired):
        accounted(here, ["sleep", "60"], ["true"])


def test_librespeeds_figure_is_taken_as_it_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '[{"bytes_sent":0,"bytes_received":97373726,"ping":0,"jitter":0,"upload":0,"download":49.93,"share":""}]'
    program = tmp_path / "librespeed-cli"  # what version 1.0.11 printed
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    run = librespeed_cli("http://127.0.0.1:1/", here)
    assert (run.down_mbps, run.bytes) == (49.93, 97_373_726)


def test_a_rival_that_is_not_there_is_named() -> None:
    assert "could not be had here: ndt7-js (Node" in rivals.missing({"librespeed-cli": tools.xomnet})
    assert rivals.missing({"librespeed-cli": tools.xomnet}, "librespeed-cli") == ""


@pytest.fixture
def ndt7_address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(ndt7_server, "RUN_S", 0.3)
    with ndt7_server.Server(("127.0.0.1", 0), ndt7_server.Download) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"ws://127.0.0.1:{server.server_address[1]}/ndt/v7/download"
        server.shutdown()


def test_the_ndt7_server_sends_growing_messages_and_says_goodbye(ndt7_address: str) -> None:
    protocol = Subprotocol(ndt7_server.PROTOCOL)
    with connect(ndt7_address, subprotocols=[protocol], max_size=None) as client:
        sizes = [len(message) for message in client]
        assert (client.subprotocol, client.protocol.close_code) == (protocol, 1000)
    assert (sizes[0], sizes[-1]) == (ndt7_server.FIRST_BYTES, ndt7_server.LAST_BYTES)
    assert sizes == sorted(sizes)
