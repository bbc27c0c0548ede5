"""`collector_state`, the collector's heartbeat: while it is written, lines are judged. Grafana alerts when it ends."""

from collections.abc import Sequence

from collector.judge.line_states import Snapshot
from collector.state_points.units import UnitStatus
from collector.store.points import Point, Value, time_ns


def heartbeat_point(snapshot: Snapshot, units: Sequence[UnitStatus]) -> Point:
    """The heartbeat of a snapshot, with the number of lines and units."""
    online = sum(unit.online for unit in units)
    fields: dict[str, Value] = {"up": 1, "lines": len(snapshot.lines), "units": len(units), "units_online": online}
    return Point("collector_state", {}, fields, time_ns(snapshot.at))
