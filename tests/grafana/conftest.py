"""The seeded province, in a database of the run."""

import datetime as dt
import uuid

import pytest

from tests.grafana.seeded import Seeded, seeded, store
from tests.support.services import Influx

NOW = dt.datetime(2026, 11, 30, 16, 50, tzinfo=dt.UTC)
"""Ten minutes before a month ends in Viet Nam."""


@pytest.fixture(scope="session")
def seed() -> Seeded:
    return seeded(NOW)


@pytest.fixture(scope="session")
def database(influx: Influx, seed: Seeded) -> str:
    """Its name; nobody writes into it."""
    name = f"grafana-{uuid.uuid4().hex[:12]}"
    store(influx, name, [point for points in seed.points.values() for point in points])
    return name
