"""Real services for every test that asks for one: its own where it may kill it, else one for the whole run."""

import os
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import services
from tests.support.influx import influx_v2 as new_influx_v2
from tests.support.services import Authority, Influx, InfluxV2, Mosquitto, cannot

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority of the run: `authority.issue("nd-haihau-0012")`."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker for one test, anonymous and without persistence."""
    with Mosquitto(_folder(tmp_path, "mosquitto")) as broker:
        yield broker


@pytest.fixture
def mosquitto_tls(tmp_path: Path, authority: Authority) -> Iterator[Mosquitto]:
    """A broker for one test as in production: certificates, rules, persistence."""
    with Mosquitto(_folder(tmp_path, "mosquitto-tls"), authority, persistence=True) as broker:
        yield broker


@pytest.fixture(scope="session")
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influx]:
    """InfluxDB for the run: each test creates a database of its own."""
    with new_influx_v2(tmp_path_factory.mktemp("influx")) as server:
        yield server


@pytest.fixture(scope="session")
def influx_v2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxV2]:
    """InfluxDB with `/api/v2/write` for the run: each test creates a database of its own."""
    with new_influx_v2(tmp_path_factory.mktemp("influx-v2")) as server:
        yield server


@pytest.fixture
def own_influx_v2(tmp_path: Path) -> Iterator[InfluxV2]:
    """InfluxDB with `/api/v2/write` that a test may kill."""
    with new_influx_v2(_folder(tmp_path, "own-influx-v2")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failing test shows the last words of the services that run."""
    report = yield
    if report.failed:
        report.sections += [(f"{type(s).__name__} on {s.port}", s.output()) for s in services.started]
    return report


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def root() -> None:
    """For what only root may do: namespaces, small file systems. In CI it is a failure not to be root."""
    if os.geteuid() != 0:
        cannot("wants root: sudo make test")


@pytest.fixture
def small_disk(root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB, to fill up."""
    folder = _folder(tmp_path, "small-disk")
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "xomnet-test", str(folder)]
    subprocess.run(command, check=True, timeout=10)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)
