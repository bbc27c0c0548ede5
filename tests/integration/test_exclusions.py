"""What a thief sent is left out of every figure, to the last digit, and counts again when it is released."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collector.store import Store
from collector.store.exclusions import Exclusion
from tests.support.stored import AGENT
from tests.support.theft import ANOTHER_SPOOL, DAY, NOW, STOLEN, Everybody, Province, forged, honest


@pytest.fixture
def province(store: Store, tmp_path: Path) -> Iterator[Province]:
    one = Province(store, tmp_path)
    yield one
    one.table.close()


def entry(action: Any = "exclude", since: dt.datetime = STOLEN, **more: Any) -> Exclusion:
    of: dict[str, Any] = {"scope": "unit", "agent": AGENT, "basis": "received", "reason": "quarantine"}
    return Exclusion(**{**of, "by": "Lan", "at": NOW, "action": action, "since": since, **more})


def differing(one: Everybody, other: Everybody) -> list[str]:
    return [name for name in Everybody._fields if getattr(one, name) != getattr(other, name)]


def excluded(province: Province) -> int:
    found = province.raw.figures.points("line_day", NOW - 91 * DAY, NOW + DAY)
    return sum(int(point.fields.get("excluded", 0)) for point in found)


@pytest.mark.parametrize("spool", [None, ANOTHER_SPOOL], ids=["its spool", "another spool"])
def test_after_quarantine_every_figure_is_as_before_the_theft_and_after_release_as_with_it(
    province: Province, spool: str | None
) -> None:
    province.receive(honest())
    province.night()
    before = province.figures()
    assert excluded(province) == 0
    theft = forged(spool)
    province.receive(theft)
    province.night()
    stolen = province.figures()
    assert differing(before, stolen) == list(Everybody._fields)
    province.table.add(entry())
    assert differing(before, province.figures()) == []
    counted = [point for point in theft if point.measurement in ("speed", "latency", "outage")]
    assert excluded(province) == len(counted)
    province.table.add(entry("count"))
    assert differing(stolen, province.figures()) == []
    assert excluded(province) == 0
