"""The promises of the layout: who imports whom, and that what we ship can be read."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from agent.settings import AgentSettings
from collector.settings import CollectorSettings
from xomnet.registry.registry import load_registry
from xomnet.settings import load
from xomnet.targets import load_targets

ROOT = Path(__file__).parents[2]
UNIT_ONLY = {"psutil", "icmplib", "speedtest"}
SERVER_ONLY = {
    "apprise",
    "cryptography",
    "influxdb_client",
    "starlette",
    "uvicorn",
    "jinja2",
    "babel",
    "prometheus_client",
    "weasyprint",
    "docx",
    "xlsxwriter",
}
COMMAND_LINE_ONLY = {"typer", "rich"}


def imported(package: str) -> dict[str, set[str]]:
    """File -> top-level modules that it imports anywhere."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / package).rglob("*.py"):
        names: set[str] = set()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
        found[str(file.relative_to(ROOT))] = names
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("agent", {"collector"} | SERVER_ONLY | COMMAND_LINE_ONLY),
        ("collector", {"agent"} | UNIT_ONLY | COMMAND_LINE_ONLY),
    ],
)
def test_a_side_imports_nothing_of_the_other(package: str, forbidden: set[str]) -> None:
    wrong = {file: names & forbidden for file, names in imported(package).items() if names & forbidden}
    assert not wrong


@pytest.mark.parametrize("daemon", ["agent.run", "collector.run", "measurement_server", "collector.pki.enrolment"])
def test_a_daemon_carries_no_command_line_library(daemon: str) -> None:
    code = f"import sys, {daemon}; print(sorted({COMMAND_LINE_ONLY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_collector_does_not_carry_what_sends_its_messages() -> None:
    code = "import sys, collector.run, collector.alerts.delivery; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_the_examples_in_config_are_good_settings() -> None:
    targets = load_targets(ROOT / "config/targets.yaml")
    assert load(ROOT / "config/agent.example.yaml", AgentSettings).lines[1].budget_bytes == 5_000_000_000
    assert load(ROOT / "config/collector.example.yaml", CollectorSettings).store.bucket == "xomnet"  # type: ignore[union-attr]
    assert load_registry(ROOT / "config/lines.example.csv", targets).knows("nd-haihau-0012")
