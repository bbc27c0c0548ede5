"""`make shifted`: each test that is marked `date`, at each of the instants.

One pytest with a worker for each instant, whose wall clock is moved, and that of every process that it starts. What
fails shows its worker: `[year-utc]`. More arguments are pytest's.
"""

import argparse
import datetime as dt
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.shifted.instants import INSTANTS, UTC, VIET_NAM, next_of

TESTS = Path(__file__).parents[1]
SOURCE = Path(__file__).with_name("wall_clock.c")
ASKED = "date and not alone and not deploy and not attack"
MARK = re.compile(r"^(@|pytestmark = )pytest\.mark\.date$", re.MULTILINE)


class NothingMarked(Exception):
    """No test that was asked for is marked."""


def compiled(folder: Path) -> Path:
    """What moves the clock, as a library for LD_PRELOAD."""
    library = folder / "wall_clock.so"
    argv = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(argv, check=True, timeout=60)
    return library


def moved(shift: dt.timedelta, library: Path) -> list[str]:
    """What a command begins with to run so much later."""
    return ["env", f"LD_PRELOAD={library}", f"XOMNET_CLOCK_SHIFT_S={shift.total_seconds():.0f}"]


def worker(name: str, shift: dt.timedelta, library: Path) -> str:
    """A worker of pytest-xdist, as `--tx` takes it."""
    return f"--tx=id={name}//popen//python={' '.join([*moved(shift, library), sys.executable])}"


def marked() -> list[Path]:
    """The files with such tests: each worker imports what it is given."""
    return [file for file in sorted(TESTS.rglob("test_*.py")) if MARK.search(file.read_text(encoding="utf-8"))]


def chosen(of_pytest: Sequence[str]) -> list[str]:
    """The files to give to pytest beside its arguments: none where these name some. Raises NothingMarked."""
    files = marked()
    named = [path.resolve() for one in of_pytest if (path := Path(one.partition("::")[0])).exists()]
    if not named:
        return [str(file) for file in files]
    if not any(file.is_relative_to(path) for file in files for path in named):
        raise NothingMarked
    return []


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shifted", description="Runs what is marked `date`.")
    parser.add_argument("--at", type=dt.datetime.fromisoformat, help="one instant alone, such as 2028-02-29T16:30Z")
    asked, of_pytest = parser.parse_known_args()
    now = dt.datetime.now(UTC)
    instants = {"at": asked.at.astimezone(UTC)} if asked.at else {name: next_of(name, now) for name in INSTANTS}
    for name, at in instants.items():
        print(
            f"{name:12} {at.astimezone(UTC):%Y-%m-%dT%H:%MZ}, in Viet Nam {at.astimezone(VIET_NAM):%A %Y-%m-%d %H:%M}"
        )
    try:
        files = chosen(of_pytest)
    except NothingMarked:
        print("none of these tests is marked `date`")
        return pytest.ExitCode.NO_TESTS_COLLECTED
    with tempfile.TemporaryDirectory(prefix="xomnet-shifted-") as folder:
        library = compiled(Path(folder))
        workers = [worker(name, at - now, library) for name, at in instants.items()]
        argv = [sys.executable, "-m", "pytest", "-m", ASKED, "--dist=each", *workers, *of_pytest, *files]
        return subprocess.run(argv, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
