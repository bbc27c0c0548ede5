"""What the shell completes, by the protocol that Typer's scripts for bash and zsh speak."""

import datetime as dt
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xomnet.registry.registry import COLUMNS
from xomnet_cli import app, completion

ROWS = """\
agent,line,access,hamlet,area,isp,from
nd-a-1,ftth,fixed,Xóm 5,Ninh Bình/xã Hải Anh,VNPT,2026-01-01
nd-a-1,4g,mobile,Xóm 5,Ninh Bình/xã Hải Anh,Viettel,2026-01-01
nd-a-1,4g,mobile,Xóm 5,Ninh Bình/xã Hải Anh,Viettel,2026-06-01
nd-b-2,lan,fixed,Xóm 2,Ninh Bình/xã Giao Minh,FPT Telecom,2026-01-01
"""
AREA = "Ninh Bình/xã"


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "lines.csv"
    path.write_text(ROWS, encoding="utf-8")
    monkeypatch.setattr(completion, "REGISTRIES", (tmp_path / "none.csv", path))
    return path


def bash(*words: str) -> list[str]:
    """What bash is given for the last word."""
    line = ("xomnet", *words)
    environment = {
        "_XOMNET_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    done = CliRunner().invoke(app, [], prog_name="xomnet", env=environment)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.splitlines() if done.stdout != "\n" else []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("co",), ["collector"]),
        (("collector", "n"), []),  # a former name is hidden
        (("ask", ""), ["nd-a-1", "nd-b-2"]),
        (("ask", "nd-b"), ["nd-b-2"]),
        (("ask", "nd-a-1,n"), ["nd-a-1,nd-b-2"]),
        (("ask", "nd-a-1", ""), ["measure", "settings", "report", "identify"]),
        (("ask", "--all", "s"), ["settings"]),
        (("ask", "nd-a-1", "measure", "--line", ""), ["ftth", "4g"]),
        (("ask", "nd-a-1", "settings", "--unset", "l"),
         ["latency.every_s", "log_level", *(f"lines.{line}.{key}" for key in ("every_s", "metered", "budget_gb",
          "servers") for line in ("ftth", "4g"))]),
        (("ask", "nd-b-2", "settings", "--set", "lines.lan.m"), ["lines.lan.metered=", "lines.lan.metered=null"]),
        (("ack", "nd-a-1", ""), ["ftth", "4g"]),
        (("maintenance", "add", "--agent", "nd-b-2", "--line", ""), ["lan"]),
        (("maintenance", "add", "--isp", ""), ["FPT\\ Telecom", "VNPT", "Viettel"]),
        (("pki", "sign", ""), ["nd-a-1", "nd-b-2", "collector"]),
        (("pki", "revoke", ""), ["nd-a-1", "nd-b-2"]),
        (("pki", "sign", "x", "--kind", ""), ["unit", "collector", "server"]),
        (("release", "make", "dist", "--arch", ""), ["aarch64", "armv7l", "x86_64"]),
        (("release", "stage", "dist", "--agent", ""), ["nd-a-1", "nd-b-2"]),
        (("measure", "http://x/", "--access", ""), ["fixed", "mobile"]),
        (("measure", "http://x/", "--interface", "l"), ["lo"]),
        (("report", "--lang", ""), ["vi", "en"]),
        (("agent", "check", "--lang", ""), ["vi", "en"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_is_completed(words: tuple[str, ...], found: list[str]) -> None:
    assert bash(*words) == found


def test_every_engine_is_completed() -> None:
    assert {"http", "ookla", "speedtest-cli"} <= set(bash("measure", "http://x/", "--engine", ""))


def test_an_area_stays_one_word_of_bash() -> None:
    levels = ["Ninh Bình", f"{AREA} Giao Minh", f"{AREA} Hải Anh"]
    assert bash("report", "--area", "N") == [level.replace(" ", "\\ ") for level in levels]
    assert bash("report", "--area", '"Ninh B') == levels
    assert bash("report", "--area", "Ninh\\ B") == []


def test_zsh_is_told_what_a_value_is() -> None:
    environment = {"_XOMNET_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "xomnet ask nd-b"}
    done = CliRunner().invoke(app, [], prog_name="xomnet", env=environment)
    assert '"nd-b-2":"Xóm 2, Ninh Bình/xã Giao Minh"' in done.stdout


@pytest.mark.parametrize(
    ("today", "months"),
    [
        (dt.date(2026, 11, 30), ["2026-10", "2025-11", "2026-11"]),
        (dt.date(2027, 1, 1), ["2026-12", "2026-01", "2027-01"]),
    ],
)
def test_the_month_to_report_is_the_last_whole_one_first(today: dt.date, months: list[str]) -> None:
    found = completion.last_months(today)
    assert [found[0], found[-2], found[-1], len(found)] == [*months, 13]


def test_a_registry_that_is_named_is_the_one_that_is_asked(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(ROWS.replace("nd-a-1", "nd-c-3"), encoding="utf-8")
    assert bash("pki", "token", "--registry", str(other), "") == ["nd-b-2", "nd-c-3"]
    assert bash("pki", "token", "--registry", str(tmp_path / "none.csv"), "") == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"agent,line\nnd-a-1", b"\x00" * 100, ROWS.encode()[:-9]])
def test_a_registry_with_errors_completes_nothing_and_says_nothing(registry: Path, content: bytes) -> None:
    registry.write_bytes(content)
    assert bash("ask", "") == []


def test_no_registry_completes_nothing(registry: Path) -> None:
    registry.unlink()
    assert bash("ask", "") == []
    assert "lines.LINE.metered" in bash("ask", "nd-a", "settings", "--unset", "")


def test_a_province_is_completed_at_once(registry: Path) -> None:
    cells = "ftth,fixed,eth0,,Xóm 5,Ninh Bình/xã Hải Anh,20.1,106.2,VNPT,200,,2026-01-01"
    rows = [f"nd-{number},{cells}" for number in range(4000)]
    registry.write_text("\n".join([",".join(COLUMNS), *rows]), encoding="utf-8")
    began = time.monotonic()
    assert bash("ask", "nd-1234") == ["nd-1234"]
    assert time.monotonic() - began < 2
    registry.write_text("\n".join([",".join(COLUMNS), *rows * 15]), encoding="utf-8")
    assert bash("ask", "nd-1234") == [], "a file that takes too long is not read"
