"""What the REST interface says, as types: the JSON, its OpenAPI schemas and the CSV columns all come from here.

Times are RFC 3339 in UTC, units are in the names, missing is absent.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from msgspec import Meta, Struct, defstruct

from collector.completeness.completeness import CompletenessSnapshot
from collector.ingest.dead_letters import DeadLetter
from collector.ingest.presence import Presence
from collector.judge.assess import counted_mbps
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from collector.store.points import received_at
from collector.store.row_types import EventRow, HealthRow, LatencyRow, OutageRow, Sample, SpeedRow, StoredRow
from collector.texts.words import count_exclusions
from xomnet.contract.flat_fields import declared_fields, flat_values
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow
from xomnet.states import State

RECEIVED_MS, RECEIVED_AT = "received_ms", "received_at"
"""A time of receipt as it is stored, and as it is said."""


class View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    @classmethod
    def of(cls, source: object, **more: Any) -> Self:
        """The fields that both have, and `more`."""
        shared = {name: getattr(source, name) for name in cls.__struct_fields__ if hasattr(source, name)}
        return cls(**{**shared, **more})


class Line(View, frozen=True, kw_only=True, omit_defaults=True):
    """A registered line, as judged at `computed_at`; only `age_s` is of the moment of the answer."""

    agent: str
    line: str
    access: Access
    hamlet: str
    area: str
    isp: str
    target_mbps: float
    state: State
    samples: int
    """Tests that count in the window."""
    failed: int
    """Tests of the window that failed."""
    excluded: int = 0
    """Tests of the window that an exclusion takes out, or that came late: in no figure."""
    excluded_for: dict[str, int] = {}
    """How many of them for each reason; absent where there are none."""
    hamlet_code: str | None = None
    median_mbps: float | None = None
    low_mbps: float | None = None
    """Lower end of the 95 % interval of the median; absent where there are too few samples for one."""
    high_mbps: float | None = None
    ratio: float | None = None
    """Median over target."""
    now_mbps: float | None = None
    plan_mbps: float | None = None
    since: dt.datetime | None = None
    """When it came into this state; absent where nothing else is known of it. In the state `no_data`: from when on a
    result was to be expected, the later of `from` in the registry and the collector's first sight of that row."""
    last_result_at: dt.datetime | None = None
    age_s: float | None = None
    completeness: float | None = None
    """Of the last 30 days: results stored over results that the unit promised. 1 only where all are stored."""
    lat: float | None = None
    lon: float | None = None


class Lines(View, frozen=True, kw_only=True):
    computed_at: dt.datetime
    lines: list[Line]
    """Worst first."""


class StoredView(View, frozen=True, kw_only=True, omit_defaults=True):
    """A stored result: when it was measured and received, and every field that is declared for its kind."""

    at: dt.datetime

    @classmethod
    def of_row(cls, row: StoredRow, **more: Any) -> Self:
        """The row on one level, and `more`."""
        values = dict(flat_values(row))
        if (received := values.pop(RECEIVED_MS, None)) is not None:
            values[RECEIVED_AT] = received_at(received)
        known = {name: value for name, value in values.items() if name in cls.__struct_fields__}
        return cls(**{**known, **more})


def _view_of(row: type[StoredRow], name: str, base: type[StoredView]) -> type[StoredView]:
    """`base` and the declared fields of a row, on one level, with their labels as descriptions."""
    fields: list[Any] = []
    for field, declared in declared_fields(row):
        if field.name in base.__struct_fields__:
            continue
        if field.name == RECEIVED_MS:
            fields.append((RECEIVED_AT, Annotated[dt.datetime | None, Meta(description=declared.en)], None))
            continue
        text = declared.en if field.unit is None else f"{declared.en} ({field.unit})"
        default = ((),) if field.is_list else () if field.is_required else (field.default,)
        fields.append((field.name, Annotated[field.type, Meta(description=text)], *default))
    made = defstruct(name, fields, bases=(base,), module=__name__, frozen=True, kw_only=True, omit_defaults=True)
    made.__doc__ = base.__doc__
    return cast(type[StoredView], made)


class _Test(StoredView, frozen=True, kw_only=True, omit_defaults=True):
    """A download test; a failed one has `error` and no `down_mbps`."""

    flags: tuple[str, ...]
    counts: bool
    """True where judging counts it: as `down_mbps`, or as 0 where a healthy unit found its line down."""


class _EventOfUnit(StoredView, frozen=True, kw_only=True, omit_defaults=True):
    """An event of a unit, or of one of its lines."""

    line: str | None = None


SpeedView = _view_of(SpeedRow, "SpeedView", _Test)
LatencyView = _view_of(LatencyRow, "LatencyView", StoredView)
OutageView = _view_of(OutageRow, "OutageView", StoredView)
HealthView = _view_of(HealthRow, "HealthView", StoredView)
EventView = _view_of(EventRow, "EventView", _EventOfUnit)


class History(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    """Results of a unit or a line, oldest first; `from` is included, `to` is not."""

    agent: str
    line: str
    from_: dt.datetime
    to: dt.datetime
    results: Sequence[StoredView]


class UnitHistory(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The same of a unit and its lines."""

    agent: str
    from_: dt.datetime
    to: dt.datetime
    results: Sequence[StoredView]


H = TypeVar("H", History, UnitHistory)


def _history_of(view: type[StoredView], name: str, base: type[H]) -> type[H]:
    results = ("results", GenericAlias(list, (view,)))
    made = defstruct(name, [results], bases=(base,), module=__name__, frozen=True, kw_only=True)
    made.__doc__ = base.__doc__
    return cast(type[H], made)


SpeedHistory = _history_of(SpeedView, "SpeedHistory", History)
LatencyHistory = _history_of(LatencyView, "LatencyHistory", History)
OutageHistory = _history_of(OutageView, "OutageHistory", History)
EventHistory = _history_of(EventView, "EventHistory", UnitHistory)


class AgentLine(View, frozen=True, kw_only=True):
    line: str
    access: Access
    isp: str
    hamlet: str
    area: str


class Agent(View, frozen=True, kw_only=True, omit_defaults=True):
    """A unit that is registered, or that the broker has heard of. One never heard has neither version nor since."""

    agent: str
    online: bool
    registered: bool
    lines: list[AgentLine]
    version: str | None = None
    since: dt.datetime | None = None
    health: HealthView | None = None  # type: ignore[valid-type]


class Agents(View, frozen=True, kw_only=True):
    agents: list[Agent]


class RejectedView(View, frozen=True, kw_only=True):
    counts: dict[str, int]
    """Over all that the file holds; `rejected` has the newest of them."""
    rejected: list[DeadLetter]


class HealthCheck(View, frozen=True, kw_only=True, omit_defaults=True):
    """`ok`, or for each part that is not, why."""

    status: Literal["ok", "failing"]
    store: str
    broker: str
    snapshot: str
    version: str
    notify: str | None = None
    """Absent where nobody is told."""


class StatusProblem(View, frozen=True, kw_only=True, omit_defaults=True):
    what: str
    where: str
    allowed: str | None = None


class Error(View, frozen=True, kw_only=True):
    error: StatusProblem


def line_view(status: LineStatus, now: dt.datetime, found: CompletenessSnapshot | None) -> Line:
    """A line of the snapshot, its age as of `now`, its completeness as last found."""
    judged = status.judgement
    age = None if judged.last_result_at is None else max(0.0, (now - judged.last_result_at).total_seconds())
    excluded = count_exclusions(sample.excluded for sample in status.samples)
    return Line.of(
        status.row,
        target_mbps=judged.target_mbps,
        state=judged.state,
        samples=judged.samples,
        failed=sum(sample.error is not None and sample.excluded is None for sample in status.samples),
        excluded=sum(number for _, number in excluded),
        excluded_for=dict(excluded),
        median_mbps=judged.median_mbps,
        low_mbps=judged.low_mbps,
        high_mbps=judged.high_mbps,
        ratio=judged.ratio,
        now_mbps=judged.now_mbps,
        since=judged.since,
        last_result_at=judged.last_result_at,
        age_s=age,
        completeness=None if found is None else found.line(status.id).tally.ratio,
    )


def sample_of(row: SpeedRow) -> Sample:
    """What judging sees of a stored test."""
    return Sample(at=row.at, down_mbps=row.down_mbps, flags=row.flags, error=row.error, excluded=row.excluded)


def speed_view(row: SpeedRow) -> StoredView:
    return SpeedView.of_row(row, flags=row.flags, counts=counted_mbps(sample_of(row)) is not None)


def latency_view(row: LatencyRow) -> StoredView:
    return LatencyView.of_row(row)


def outage_view(row: OutageRow) -> StoredView:
    return OutageView.of_row(row)


def event_views(rows: Mapping[LineId, Sequence[EventRow]]) -> list[StoredView]:
    """Of all lines and the unit itself, oldest first."""
    views = [EventView.of_row(row, line=line.line or None) for line, of_line in rows.items() for row in of_line]
    return sorted(views, key=lambda view: view.at)


def agent_views(seen: list[Presence], registered: list[LineRow], health: dict[str, HealthRow]) -> list[Agent]:
    """Every unit that is registered or was heard, by name."""
    heard = {agent.agent: agent for agent in seen}
    lines: dict[str, list[LineRow]] = {}
    for row in registered:
        lines.setdefault(row.agent, []).append(row)
    return [_agent(name, heard.get(name), lines.get(name), health.get(name)) for name in sorted({*heard, *lines})]


def _agent(name: str, seen: Presence | None, lines: list[LineRow] | None, health: HealthRow | None) -> Agent:
    return Agent(
        agent=name,
        online=seen is not None and seen.online,
        registered=lines is not None,
        lines=[AgentLine.of(row) for row in lines or ()],
        version=seen.version if seen else health.version if health else None,
        since=seen.since if seen else None,
        health=HealthView.of_row(health) if health else None,
    )
