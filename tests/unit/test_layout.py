"""What a daemon carries, and that the examples can be read. Who may import whom: import-linter, in pyproject.toml."""

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
COMMAND_LINE_ONLY = {"typer", "rich"}


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
    assert load_registry(ROOT / "config/lines.example.csv", targets).has_agent("nd-haihau-0012")
