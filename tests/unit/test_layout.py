"""What a daemon carries, and that the examples can be read. Who may import whom: import-linter, in pyproject.toml."""

import subprocess
import sys

import pytest

from agent.settings import AgentSettings
from collector.settings import CollectorSettings
from tests.support.packages import PACKAGES, PROJECT, ROOT, files_of, imports_of
from xomnet.registry.registry import load_registry
from xomnet.settings import load
from xomnet.targets import load_targets

COMMAND_LINE_ONLY = {"typer", "rich"}
NOT_INSTALLED = {"grafana", "tests", "bench"}
"""Stand beside the product in the repository, and are in no release."""


@pytest.mark.parametrize("daemon", ["agent.run", "collector.run", "measurement_server", "collector.pki.enrolment"])
def test_a_daemon_carries_no_command_line_library(daemon: str) -> None:
    code = f"import sys, {daemon}; print(sorted({COMMAND_LINE_ONLY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_collector_does_not_carry_what_sends_its_messages() -> None:
    code = "import sys, collector.run, collector.alerts.delivery; print('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def imported(package: str) -> set[str]:
    """The top-level packages that one of ours imports."""
    return {name for file in files_of([package]) for name in imports_of(file)}


def test_the_updater_runs_on_the_standard_library_alone() -> None:
    assert imported("updater") - sys.stdlib_module_names == {"updater"}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_that_is_not_installed_with_it(package: str) -> None:
    assert imported(package) & NOT_INSTALLED == set()
    assert "amqtt" not in imported(package) or package == "xomnet_demo"


def test_type_checker_and_layers_know_every_package() -> None:
    layers = PROJECT["tool"]["importlinter"]
    (circles,) = (one for one in layers["contracts"] if one["type"] == "acyclic_siblings")
    ways_down = next(one for one in layers["contracts"] if one["type"] == "layers" and "containers" not in one)
    assert set(PACKAGES) <= set(PROJECT["tool"]["mypy"]["files"])
    assert set(PACKAGES) == set(layers["root_packages"]) == set(circles["ancestors"])
    assert set(PACKAGES) == {name.strip() for layer in ways_down["layers"] for name in layer.split("|")}


def test_the_examples_in_config_are_good_settings() -> None:
    targets = load_targets(ROOT / "config/targets.yaml")
    assert load(ROOT / "config/agent.example.yaml", AgentSettings).lines[1].budget_bytes == 5_000_000_000
    assert load(ROOT / "config/collector.example.yaml", CollectorSettings).store.bucket == "xomnet"  # type: ignore[union-attr]
    assert load_registry(ROOT / "config/lines.example.csv", targets).has_agent("nd-haihau-0012")
