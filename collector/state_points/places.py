"""`place_state`: how many lines of each place are in which state. Pure."""

from collections.abc import Sequence
from statistics import median

from collector.judge.assess import Judgement
from collector.judge.line_states import Snapshot
from collector.rollups.aggregate import by_place
from collector.store.points import Point, Value, time_ns
from xomnet.states import STATES, State

JUDGED: frozenset[State] = frozenset({"meeting", "short"})


def place_state_points(snapshot: Snapshot) -> list[Point]:
    """A point for every place and access that has a line."""
    lines = ((status.row, status.judgement) for status in snapshot.lines)
    return [
        Point("place_state", tags, place_state_fields(members), time_ns(snapshot.at))
        for tags, members in by_place(lines)
    ]


def place_state_fields(judgements: Sequence[Judgement]) -> dict[str, Value]:
    """Lines by state, and the share and median ratio of those judged; the last two are absent if none is judged."""
    count: dict[str, Value] = {state: sum(one.state == state for one in judgements) for state in STATES}
    judged = [one for one in judgements if one.state in JUDGED]
    fields: dict[str, Value] = {"lines": len(judgements), **count}
    if judged:
        fields["share"] = sum(one.state == "meeting" for one in judged) / len(judged)
    if ratios := [one.ratio for one in judged if one.ratio is not None]:
        fields["ratio"] = median(ratios)
    return fields
