"""What several integration tests ask for; a test file may have one of its own under the same name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from collector.store import Store
from tests.support.deployment import Collector, made, plain, until
from tests.support.sender import ROWS, Sender
from tests.support.services import Mosquitto
from tests.support.stored import new_store


@pytest.fixture(params=["sqlite", "influx"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Each of the stores, empty."""
    opened = new_store(request, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def collector(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Collector]:
    with Collector(made(tmp_path, "collector"), plain(mosquitto), ROWS) as collector:
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        yield collector


@pytest.fixture
def sender(mosquitto: Mosquitto, collector: Collector) -> Iterator[Sender]:
    one = Sender(mosquitto.port)
    yield one
    one.close()
