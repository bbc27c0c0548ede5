"""An engine is one file and one entry of one map: what follows from the entry, and that nothing else names engines."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.engines import DEFAULT_ENGINE, ENGINES
from agent.measure.engines import engine
from agent.settings import AgentSettings, LineSettings, check
from tests.support.packages import PACKAGES, PROJECT, ROOT, files_of
from xomnet.mqtt.broker import Broker
from xomnet.settings import SettingsError

MAP, FILES = ROOT / "agent/engines.py", ROOT / "agent/measure/engines"
SERVES = "measurement_server"
"""It names the clients that it serves, which is another matter."""
PRODUCT = (*(package for package in PACKAGES if package != SERVES), "grafana")
BESIDE = (*(package for package in PACKAGES if package != "agent"), "config")
"""What stands, unchanged, beside a unit that has one engine more."""

FILE = '''
from agent.errors import MeasurementError
from agent.measure.engines import TestSpec
from xomnet.contract.messages import Speed


def measure(test: TestSpec) -> Speed:
    """A figure without a transfer."""
    if test.full:
        raise MeasurementError("engine", "nothing came")
    return Speed(engine="ruler", server=test.server, down_mbps=160.0, bytes=test.max_bytes)
'''
ENTRY = """\
    "ruler": EngineSpec(
        "ruler", "a ruler", server_list="a drawer", uncapped_bytes=123_000_000, keeps_interface=False
    ),
"""
FOLLOWS = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from agent.check import servers
from agent.clock.clock import ClockReading
from agent.measure.download import wanted_bytes
from agent.schedule.quota.budget import RESERVE_FACTOR, DataBudget
from agent.schedule.quota.metering import Meter
from agent.settings import read
from xomnet.contract.messages import Speed

settings = read(Path(sys.argv[1]))
line = settings.lines[0]
budget = DataBudget(settings.state_dir / "ledger.json")
now = ClockReading(datetime(2026, 11, 28, tzinfo=UTC), 0, True)
meter = Meter(settings, budget, lambda _: now, UUID(int=1), counters=dict)
meter.charge()
meter.reserve(line, wanted_bytes(line))
meter.settle(line, Speed(engine="ruler", server="", bytes=0, error="engine"))
found = servers.check_servers(line, ())
print(json.dumps({
    "charged": round(budget.used_bytes(line.line) / RESERVE_FACTOR),
    "mark": found.mark,
    "said": list(found.found[0].values.values()),
}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product with one file and one entry more."""
    folder = tmp_path_factory.mktemp("tree")
    for package in BESIDE:
        (folder / package).symlink_to(ROOT / package)
    shutil.copytree(ROOT / "agent", folder / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / FILES.relative_to(ROOT) / "ruler.py").write_text(FILE)
    before, begins, after = MAP.read_text(encoding="utf-8").partition("ENGINES: Mapping[str, EngineSpec] = {\n")
    assert begins
    (folder / MAP.relative_to(ROOT)).write_text(before + begins + ENTRY + after, encoding="utf-8")
    return folder


def python(tree: Path, *arguments: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=tree
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def measure(tree: Path, *arguments: str, code: int = 0) -> str:
    return python(tree, "-c", "from xomnet_cli import main; main()", "measure", *arguments, code=code)


def test_a_file_and_an_entry_make_an_engine_of_the_command(tree: Path) -> None:
    found = json.loads(measure(tree, "http://do.example.vn/", "--engine", "ruler", "--json"))
    assert (found["engine"], found["server"], found["down_mbps"]) == ("ruler", "http://do.example.vn/", 160)
    assert found["bytes"] == 123_000_000
    failed = json.loads(measure(tree, "http://do.example.vn/", "--engine", "ruler", "--full", "--json", code=1))
    assert (failed["engine"], failed["error"]) == ("ruler", "engine")
    assert "ruler: a ruler;" in measure(tree, "--help")
    assert measure(tree, "http://do.example.vn/", "--engine", "ruler", "--interface", "lo", code=2) == ""


def test_settings_budget_and_check_follow_from_the_entry(tree: Path, tmp_path: Path) -> None:
    settings = tmp_path / "agent.yaml"
    text = "agent: nd-a\nstate_dir: .\nbroker: {}\nlines: [{line: ftth, access: fixed, engine: ruler, budget_gb: 1}]\n"
    settings.write_text(text)
    found = json.loads(python(tree, "-c", FOLLOWS, str(settings)))
    assert found == {"charged": 123_000_000, "mark": "skip", "said": ["ruler", "a drawer"]}


def test_an_engine_that_does_not_keep_to_an_interface_gets_no_line_that_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def settings(interface: str | None) -> AgentSettings:
        line = LineSettings(line="4g", access="mobile", interface=interface, engine="ookla")
        return AgentSettings(agent="nd-a", state_dir=Path(), broker=Broker(), lines=(line,))

    check(settings("wwan0"), "agent.yaml")
    monkeypatch.setitem(ENGINES, "ookla", replace(ENGINES["ookla"], keeps_interface=False))
    check(settings(None), "agent.yaml")
    with pytest.raises(SettingsError, match=r"lines\[0\]\.engine: found 'ookla'; allowed: http or speedtest-cli with"):
        check(settings("wwan0"), "agent.yaml")


def test_each_entry_has_its_file_and_each_file_its_entry() -> None:
    files = {file.stem for file in FILES.glob("*.py") if re.search(r"^def measure\(", file.read_text(), re.MULTILINE)}
    assert {spec.module for spec in ENGINES.values()} == files
    assert all(engine(name).__module__ == f"agent.measure.engines.{ENGINES[name].module}" for name in ENGINES)
    assert DEFAULT_ENGINE in ENGINES


def test_a_unit_brings_the_packages_that_its_engines_need() -> None:
    optional = PROJECT["project"]["optional-dependencies"]
    brought = {re.split(r"[<>=~!\[; ]", one)[0] for one in optional["agent"]}
    assert not {package for spec in ENGINES.values() for package in spec.packages} - brought


def words(file: Path) -> Iterator[str]:
    """What a file says to the machine: names, and texts in quotation marks; not comments and docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings:
                yield f'"{text}"'
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=own):
                yield f"{name} {own}"


def named(text: str, package: str) -> bool:
    """`http` alone is the engine only in the unit and the command line; a server speaks of the protocol."""
    of_unit = package in ("agent", "xomnet_cli", "xomnet_demo")
    others = "|".join(re.sub("[-_]", "[-_]", name) for name in ENGINES if name != "http")
    return (of_unit and text == '"http"') or re.search(others, text, re.IGNORECASE) is not None


def test_no_other_file_of_the_product_names_an_engine() -> None:
    elsewhere = [file for file in files_of(PRODUCT) if file != MAP and FILES not in file.parents]
    assert len(elsewhere) > 200
    found = {
        (str(name), text)
        for file in elsewhere
        for text in words(file)
        if named(text, (name := file.relative_to(ROOT)).parts[0])
    }
    assert not found
    assert named("SPEEDTEST_CLI_BYTES", "agent")
    assert {text.strip('"') for text in words(MAP) if named(text, "agent")} >= set(ENGINES)


@pytest.mark.parametrize("language", ["en", "vi"])
def test_the_guides_name_each_engine(language: str) -> None:
    for guide, key in (("operator", "`lines[].engine`"), ("officer", "`engine`")):
        lines = (ROOT / f"docs/{guide}.{language}.md").read_text(encoding="utf-8").splitlines()
        (row,) = (line for line in lines if line.startswith(f"| {key} |"))
        last_column = row.split("|")[-2]
        assert all(f"`{name}`" in last_column for name in ENGINES)
