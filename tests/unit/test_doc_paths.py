"""The documents name files and folders that exist: README, CONTRIBUTING, guides, decisions."""

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/adr").glob("*.md"),
    ]
    if path.name != "deploy-test.md"  # output of a run, as it was
)

PATH = re.compile(
    r"(?:[\w.-]+/)+(?:[\w.*-]+\.[a-z]+|[A-Za-z_]\w*)?|[\w-]+\.(?:py|ya?ml|toml|lock|sh|css|html|po)|Makefile"
)
"""A path as the documents write one: folders, then perhaps a file; or a file by its name alone."""

NOT_OURS = re.compile(
    r"STATE_DIR/.*"  # of a running service
    r"|(agent|collector)\.yaml"  # a service's settings on its machine; here: config/*.example.yaml
    r"|xomnet/v1/.*"  # topics
    r"|Asia/Ho_Chi_Minh|Bình/xã|\d+/.*"  # a time zone, an area, a day
    r"|\.venv/.*|dist/.*|backups/.*|piwheels\.lock"  # made by a command
    r"|group_vars/agents/.*|(inventory/)?vault\.yml"  # or by the operator
)

MODULE = re.compile(r"`([a-z_]+\*?/?)`")


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return tuple(f"/{path}" for path in listed.stdout.splitlines())


def exists(path: str) -> bool:
    """True if a tracked file, or a folder with some, has this path, or this end of a path. `NAME` and `*`: any."""
    pattern = re.escape(path).replace("NAME", r"\w+").replace(r"\*", "[^/]*")
    pattern = rf"/{pattern}" if path.endswith("/") else rf"/{pattern}(/|\.py$|$)"
    return any(re.search(pattern, one) for one in tracked())


def paths(text: str) -> Iterator[tuple[int, str]]:
    """Each path in backticks, with its line; absolute ones, addresses and placeholders are other machines'."""
    for number, line in enumerate(text.splitlines(), 1):
        for code in re.findall(r"`([^`]+)`", line):
            for word in code.split():
                name = word.split("::")[0].rstrip(",.;:")
                if PATH.fullmatch(name) and not NOT_OURS.fullmatch(name):
                    yield number, name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = [f"{document}:{number}: {path}" for number, path in paths(text) if not exists(path)]
    assert not missing


def rooms(section: str) -> dict[str, list[str]]:
    """The rooms of one table of docs/architecture.md, each with the modules that its row names."""
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            first, second = line.strip("| ").split(" | ", 1)
            for room in MODULE.findall(first) + re.findall(r"`(\w+\.py)`", first):
                found[room] = MODULE.findall(second) if first.count("`") == 2 else []
    return found


@pytest.mark.parametrize(
    ("program", "heading"), [("xomnet", "## Layers"), ("agent", "## The unit"), ("collector", "## The collector")]
)
def test_the_architecture_names_every_room_and_only_modules_that_exist(program: str, heading: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = rooms(text.split(heading, 1)[1].split("\n## ", 1)[0])
    inside = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / program).iterdir()
        if path.name not in ("__init__.py", "__main__.py", "__pycache__") and (path.is_dir() or path.suffix == ".py")
    }
    assert inside - table.keys() == set(), "a room that the map does not show"
    missing = [
        f"{room}{name}"
        for room, names in table.items()
        for name in names
        if room.endswith("/") and not list((ROOT / program / room).glob(name if name.endswith("/") else f"{name}.py"))
    ]
    assert not missing


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`agent/measure/estimate.py`", ["agent/measure/estimate.py"]),
        ("`collector/web/rest/`, `STATE_DIR/alerts.db`, `/etc/xomnet/agent.yaml`", ["collector/web/rest/"]),
        ("`unit/test_link.py::test_it`, tests/none.py", ["unit/test_link.py"]),
        ("`http://127.0.0.1:8420/api`, `xomnet/v1/collector/up`", []),
    ],
)
def test_paths_are_told_from_what_only_looks_like_one(text: str, found: list[str]) -> None:
    assert [path for _, path in paths(text)] == found


def test_a_path_that_is_gone_is_missed() -> None:
    assert exists("agent/measure/goodput.py")
    assert exists("measure/engines/NAME.py")
    assert exists("rest/")
    assert not exists("agent/measure/estimate.py")
    assert not exists("rooms/")
