"""Rolling up a store of `tests.support.stored` until nothing is left to do, and what came of it."""

import datetime as dt
from typing import Any

from collector.rollups.aggregate import RollupBucket
from collector.rollups.rollups import Rollups
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import Value
from tests.support.stored import AGENT, registry
from xomnet.runtime.clock import utc_now

MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
NOW = utc_now().replace(microsecond=0) - dt.timedelta(hours=30)
MOBILE = LineId(AGENT, "4g")
LATER = NOW + 30 * HOUR
ZONE = registry().zone
TAGS = {"agent": AGENT, "line": "ftth"}
ALL_FIXED = {"scope": "all", "access": "fixed"}


def rollups(store: Store, **more: Any) -> Rollups:
    return Rollups(store, registry, sweep_days=more.pop("sweep_days", 3), **more)


def settle(one: Rollups, now: dt.datetime = LATER) -> None:
    """Works until nothing is left to do."""
    for _ in range(2000):
        if not one.step(now):
            return
    raise AssertionError("it never ends")


def fields(store: Store, measurement: str, bucket: RollupBucket, **tags: str) -> dict[str, Value]:
    """Of the one point in a bucket that has these tags; nothing where there is none."""
    found = [
        dict(p.fields)
        for p in store.figures.points(measurement, bucket.since, bucket.until)
        if tags.items() <= p.tags.items() and ("place" in tags or tags.get("scope") != "all" or "place" not in p.tags)
    ]
    assert len(found) <= 1
    return found[0] if found else {}


Everything = dict[tuple[object, ...], dict[str, Value]]


def everything(store: Store, since: dt.datetime = NOW - 40 * DAY, until: dt.datetime = LATER + DAY) -> Everything:
    """Every hour and day of which anything is known. Of nothing a place may have a point, or none."""
    found: Everything = {}
    for measurement in ("line_hour", "line_day", "place_hour", "place_day"):
        for p in store.figures.points(measurement, since, until):
            if any(p.fields[name] for name in ("tests", "probes", "outages")):
                found[measurement, p.time_ns, *sorted(p.tags.items())] = dict(p.fields)
    return found
