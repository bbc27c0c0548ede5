"""The `xomnet` command: what it prints for people and for programs, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from measurement_server import MeasurementServer
from tests.support import faulty_servers
from tests.support.faulty_servers import Server, Visit
from xomnet import __version__
from xomnet.contract.messages import Speed
from xomnet_cli import app
from xomnet_cli.measure import as_document, verdict

XOMNET = Path(sys.executable).with_name("xomnet")
REQUIRED = {
    *("down_mbps", "gross_mbps", "trimmed_mbps", "bytes", "duration_s", "streams", "stop_reason"),
    *("rtt_idle_ms", "rtt_loaded_ms", "flags", "target_mbps", "meets_target", "engine", "server"),
}
RATE_MBPS = 80.0
GOOD = """\
agent,line,access,interface,hamlet,area,isp,from
nd-a-1,ftth,fixed,eth0,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2024-10-08
nd-a-1,4g,mobile,wwan0,Xóm 5,Nam Định/Hải Hậu/Hải Minh,Viettel,2024-10-08
nd-a-1,4g,mobile,wwan0,Xóm 5,Ninh Bình/Hải Minh,Viettel,2025-07-01
nd-b-2,ftth,fixed,eth0,Xóm 9,Nam Định/Giao Thủy/Giao An,FPT,2024-10-08
"""
BAD = GOOD.replace("nd-a-1,ftth,fixed", "ND A,ftth,fibre")


def xomnet(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(XOMNET), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A line that meets the mobile target and is below the fixed one."""
    server = MeasurementServer("127.0.0.1", 0, RATE_MBPS)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.url
    server.close()
    thread.join()


def test_measure_prints_one_json_document_and_nothing_else(server: str) -> None:
    done = xomnet("measure", server, "--access", "mobile", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found.keys() >= REQUIRED
    assert found["down_mbps"] == pytest.approx(RATE_MBPS, rel=0.05)
    assert (found["target_mbps"], found["meets_target"]) == (70, True)
    assert (found["engine"], found["server"], found["streams"]) == ("http", server, 6)
    assert isinstance(found["flags"], list)


def test_measure_ends_with_a_verdict_against_the_target(server: str) -> None:
    done = xomnet("measure", server)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()  # nobody watches: no line that moves
    assert line.startswith("▼ ")
    assert " Mb/s of 150: below the target (6 streams, " in line
    assert float(line.split()[1]) == pytest.approx(RATE_MBPS, rel=0.05)
    assert "round trip " in line


def test_measure_by_a_named_interface(server: str) -> None:
    done = xomnet("measure", server, "--access", "mobile", "--interface", "lo", "--json")
    assert json.loads(done.stdout)["down_mbps"] == pytest.approx(RATE_MBPS, rel=0.05)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "http_404"), (b"SSH-2.0-x\r\n\r\n", "portal")],
)
def test_a_failed_measurement_exits_1_with_its_reason_and_no_figure(answer: bytes, error: str) -> None:
    with Server(faulty_servers.says(answer)) as liar:
        as_json, as_text = xomnet("measure", liar.url, "--json"), xomnet("measure", liar.url)
    assert (as_json.returncode, as_json.stderr, as_text.returncode, as_text.stderr) == (1, "", 1, "")
    found = json.loads(as_json.stdout)
    assert (found["error"], found["target_mbps"]) == (error, 150)
    assert not found.keys() & {"down_mbps", "meets_target"}
    assert as_text.stdout.startswith(f"✖ no figure: {error}: ")


@pytest.mark.parametrize(
    ("arguments", "error", "detail"),
    [
        (["ftp://127.0.0.1/"], "settings", "write http://HOST:PORT/"),
        (["http://[::1"], "settings", "write http://HOST:PORT/"),
        (["http://no-such-host.invalid/"], "dns_failure", "no-such-host.invalid"),
        (["http://127.0.0.1:1/"], "connect_refused", "Connection refused"),
        (
            ["http://127.0.0.1:1/", "--interface", "no-such-if0"],
            "interface_missing",
            "there is no interface no-such-if0",
        ),
    ],
)
def test_what_can_not_be_measured_is_said_in_a_document_too(arguments: list[str], error: str, detail: str) -> None:
    done = xomnet("measure", *arguments, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert found["error"] == error
    assert detail in found["error_detail"]


def test_ctrl_c_ends_a_measurement_within_two_seconds_and_exits_130() -> None:
    with Server(faulty_servers.answers_then(300_000, Visit.hold)) as server:
        with subprocess.Popen(
            [str(XOMNET), "measure", server.url, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            end = time.monotonic() + 20
            while len(server.requests) < 6:
                assert time.monotonic() < end
                time.sleep(0.05)
            at = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=10)
            assert time.monotonic() - at < 2
        assert (process.returncode, err) == (130, "")
        assert json.loads(out)["error"] == "cancelled"


def test_a_terminal_shows_the_test_as_it_runs(server: str) -> None:
    """On a pseudo-terminal: a line that moves, then the verdict."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen([str(XOMNET), "measure", server], stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                block = os.read(ours, 65_536)
            except OSError:  # EIO: the other end is closed
                break
            shown += block
        os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "warming up" in text
    assert "measuring" in text
    assert " ms loaded)" in text.rstrip().splitlines()[-1]
    assert "below the target" in text


SPEED = Speed(
    engine="http",
    server="http://s/",
    down_mbps=151.24,
    gross_mbps=140.0,
    bytes=75_600_000,
    duration_s=4.04,
    streams=6,
    rtt_idle_ms=11.96,
    rtt_loaded_ms=80.0,
)


@pytest.mark.parametrize(
    ("result", "target", "line"),
    [
        (
            SPEED,
            150,
            "● 151.2 Mb/s of 150: meets the target (6 streams, 4.0 s, 76 MB, round trip 12.0 ms idle, 80.0 ms loaded)",
        ),
        (
            Speed(engine="speedtest-cli", server="s", down_mbps=60.0, flags=("wifi", "cpu_bound")),
            70,
            "▼ 60.0 Mb/s of 70: below the target ()  [wifi, cpu_bound]",
        ),
        (
            Speed(engine="http", server="s", error="stalled", error_detail="0 bytes in 8 s", flags=("link_down",)),
            70,
            "✖ no figure: stalled: 0 bytes in 8 s  [link_down]",
        ),
    ],
)
def test_the_verdict_line(result: Speed, target: float, line: str) -> None:
    assert verdict(result, target) == line


def test_a_target_that_is_just_reached_is_met() -> None:
    assert as_document(Speed(engine="http", server="s", down_mbps=70.0), 70.0)["meets_target"] is True
    assert as_document(Speed(engine="http", server="s", down_mbps=69.99), 70.0)["meets_target"] is False


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "lines.csv"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_a_good_registry_is_counted(registry: Path) -> None:
    done = xomnet("registry", "check", str(registry))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{registry}: no errors; 4 rows, 3 lines, 2 units\n"


def test_a_bad_registry_has_every_problem_named_and_exits_1(registry: Path) -> None:
    registry.write_text(BAD, encoding="utf-8")
    done = xomnet("registry", "check", str(registry))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"{registry}, line 2, column agent: found 'ND A'; write lower-case letters, digits and hyphens, at most 32, "
        "such as nd-haihau-0012",
        f"{registry}, line 2, column access: found 'fibre'; write fixed or mobile",
        "2 errors",
    ]


def test_a_registry_is_checked_for_programs_too(registry: Path) -> None:
    done = xomnet("registry", "check", str(registry), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "file": str(registry),
        "ok": True,
        "rows": 4,
        "lines": 3,
        "agents": 2,
        "problems": [],
    }
    registry.write_text(BAD, encoding="utf-8")
    done = xomnet("registry", "check", str(registry), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert (found["ok"], found["rows"]) == (False, 0)
    assert [(p["line"], p["column"], p["found"]) for p in found["problems"]] == [
        (2, "agent", "'ND A'"),
        (2, "access", "'fibre'"),
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_registry_that_is_not_there_exits_1(tmp_path: Path, as_json: bool) -> None:
    done = xomnet("registry", "check", str(tmp_path / "none.csv"), *(["--json"] if as_json else []))
    assert done.returncode == 1
    assert "No such file or directory" in (done.stdout if as_json else done.stderr)
    assert "Traceback" not in done.stderr


def commands(group: Any, *path: str) -> Iterator[list[str]]:
    """Every command that does something, by its words; former names, which are hidden, left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        elif not command.hidden:
            yield [*path, name]


EVERY = list(commands(typer.main.get_command(app)))
GROUPS = sorted({tuple(words[:-1]) for words in EVERY if len(words) > 1})


def show_help(*words: str, columns: int = 80) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns), "TERM": "dumb"})
    assert done.exit_code == 0
    return done.output


def test_the_commands_of_the_issue_are_there() -> None:
    assert {tuple(words) for words in EVERY} >= {
        ("demo",),
        ("measure",),
        ("measure-server",),
        ("agent", "run"),
        ("collector", "run"),
        ("registry", "check"),
    }


def test_the_help_of_all_fits_a_screen_and_says_who_uses_what() -> None:
    rows = [line.strip() for line in show_help().splitlines()]
    assert len(rows) <= 23, "a terminal of 24 lines has one for the prompt"
    titles = [row.rstrip("─ ") for row in rows if re.match(r"\S.* ─", row)]
    assert rows[0].startswith("Usage: xomnet COMMAND …   Options: --help, --version")
    assert titles == ["Try it", "Unit (technician)", "Server", "Operator", "Officer"]
    for name in {words[0] for words in EVERY}:
        assert [row for row in rows if re.fullmatch(rf"{name}  +[A-Z].*\.", row)], f"{name} has no whole sentence"


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_the_help_of_every_command_says_what_it_does_how_it_ends_and_shows_an_example(words: list[str]) -> None:
    purpose, *more = [line.strip() for line in show_help(*words, columns=200).splitlines() if line.strip()][1:]
    assert re.fullmatch(r"[A-Z].*\.", purpose)
    assert [line for line in more if line.startswith("Exit status: 0 ")]
    assert [line for line in more if re.match(rf"Example: (sudo (-u \S+ )?)?xomnet {' '.join(words)}", line)]


@pytest.mark.parametrize("words", [*EVERY, *GROUPS, ()], ids=" ".join)
def test_no_help_is_cut_at_80_columns(words: tuple[str, ...]) -> None:
    shown = show_help(*words)
    assert "…" not in shown.replace("COMMAND …", "")
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_a_former_name_works_is_hidden_and_names_the_new_one(tmp_path: Path) -> None:
    config = tmp_path / "collector.yaml"
    config.write_text("registry: lines.csv\n")
    new, old = (xomnet("collector", name, "--config", str(config)) for name in ("test-notification", "notify-test"))
    assert (old.returncode, old.stdout) == (new.returncode, new.stdout)
    warning, *rest = old.stderr.splitlines()
    assert warning == (
        "warning: `xomnet collector notify-test` is now `xomnet collector test-notification`; the old name goes away"
    )
    assert rest == new.stderr.splitlines()
    assert "notify-test" not in show_help("collector")


@pytest.mark.parametrize(
    "arguments", [["no-such"], ["measure"], ["measure", "http://x/", "--access", "fibre"], ["agent", "run", "--wrong"]]
)
def test_what_the_command_does_not_know_exits_2(arguments: list[str]) -> None:
    done = xomnet(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_the_version() -> None:
    done = xomnet("--version")
    assert (done.returncode, done.stdout) == (0, __version__ + "\n")


def test_agent_run_becomes_the_agent(tmp_path: Path) -> None:
    """The daemon is started in place of the command: its exit status and its sentence, and no typer in it."""
    config = tmp_path / "agent.yaml"
    config.write_text("agent: nd-a-1\n")
    done = xomnet("agent", "run", "--config", str(config))
    assert done.returncode == 2
    assert done.stderr == f"{config}, line 1: state_dir: found nothing; allowed: a path\n"


@pytest.mark.parametrize("module", ["agent.run", "agent.measure.engines.http"])
def test_the_agent_carries_nothing_of_the_command_or_the_server(module: str) -> None:
    program = (
        f"import sys, {module}\n"
        "print([name for name in ('typer', 'rich', 'collector', 'influxdb_client', 'starlette', 'jinja2')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
