"""What is written every minute beside the states of the lines."""

import datetime as dt
from collections.abc import Iterable

import pytest

from collector.ingest.presence import Presence
from collector.judge.assess import JudgingRules
from collector.judge.line_states import LineStates
from collector.state_points.latency import LatencyLimits
from collector.state_points.state_points import StatePoints
from collector.store import Store
from collector.store.line_id import LineId
from collector.store.points import Point
from tests.support.rolled import HOUR, MINUTE, MOBILE
from tests.support.stored import AGENT, LINE, health, latency, registry
from xomnet.runtime.clock import utc_now

pytestmark = pytest.mark.date


def test_every_minute_says_what_is_known_of_lines_places_units_and_of_itself(store: Store) -> None:
    now = utc_now()
    lines = [LINE, LineId("nd-b-2", "ftth")]
    store.write(
        [latency(now - n * MINUTE, n, line, received=9, rtt_p50_ms=100.0 + n) for n in range(1, 9) for line in lines]
    )
    store.write([latency(now - 3 * HOUR, 20, rtt_p50_ms=1.0), health(now - MINUTE, 21, temp_c=85.0)])
    seen = [Presence(AGENT, True, "1.0", now), Presence("nd-z-9", True, "1.0", now)]
    minute = StatePoints(store, registry, lambda: seen, lambda: None, LatencyLimits(latency_ms=104, loss_percent=10))
    states = LineStates(store, registry, JudgingRules(), field_sources=(minute,), point_sources=(minute,))
    at = states.take(now).at

    def written(measurement: str) -> Iterable[Point]:
        return store.figures.points(measurement, at, at + dt.timedelta(microseconds=1))

    of_lines = {(p.tags["agent"], p.tags["line"]): p.fields for p in written("line_state")}
    line = of_lines[LINE]
    assert (line["rtt_ms"], line["loss_percent"], line["latency_bad"], line["loss_bad"]) == (104.5, 10.0, 1, 0)
    assert {"rtt_ms", "age_s"}.isdisjoint(of_lines[MOBILE])
    assert (of_lines[MOBILE]["state"], of_lines[MOBILE]["state_code"]) == ("no_data", 5)
    units = {p.tags["agent"]: p.fields for p in written("unit_state")}
    assert [(agent, units[agent]["problem"]) for agent in sorted(units)] == [(AGENT, "hot"), ("nd-b-2", "offline")]
    places = {(p.tags["scope"], p.tags.get("place", ""), p.tags["access"]): p.fields for p in written("place_state")}
    assert places["all", "", "fixed"]["lines"] == 2
    assert places["area", "Nam Định/Hải Hậu", "mobile"] == {
        **{"lines": 1, "no_data": 1, "short": 0, "silent": 0, "uncertain": 0, "meeting": 0, "not_assessable": 0}
    }
    (own,) = written("collector_state")
    assert own.fields == {"up": 1, "lines": 3, "units": 2, "units_online": 1}
