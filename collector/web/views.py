"""What the REST interface says, as types: the JSON, its OpenAPI schemas and the CSV columns all come from here.

Times are RFC 3339 in UTC, units are in the names, missing is absent.
"""

import datetime as dt
from typing import Any, Literal, Self

from msgspec import Struct

from collector.completeness.completeness import Found
from collector.ingest.dead_letters import DeadLetter
from collector.ingest.presence import Presence
from collector.judge.assess import counted_mbps
from collector.judge.line_states import LineStatus
from collector.store import HealthRow, LatencyRow, Sample, SpeedRow
from xomnet.contract.messages import Access
from xomnet.registry.registry import LineRow
from xomnet.states import State


class View(Struct, frozen=True, kw_only=True, omit_defaults=True):
    @classmethod
    def of(cls, source: object, **more: Any) -> Self:
        """A view of a stored row: the fields that both have, and `more`."""
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


class SpeedView(View, frozen=True, kw_only=True, omit_defaults=True):
    """A download test; a failed one has `error` and no `down_mbps`."""

    at: dt.datetime
    engine: str
    server: str
    flags: tuple[str, ...]
    counts: bool
    """True where judging counts it: as `down_mbps`, or as 0 where a healthy unit found its line down."""
    down_mbps: float | None = None
    early_mbps: float | None = None
    """Of an audit: what the test would have said, had it stopped early."""
    gross_mbps: float | None = None
    trimmed_mbps: float | None = None
    bytes: int | None = None
    duration_s: float | None = None
    streams: int | None = None
    stop_reason: str | None = None
    rtt_idle_ms: float | None = None
    rtt_loaded_ms: float | None = None
    error: str | None = None
    error_detail: str | None = None
    link_mbps: float | None = None
    other_bytes: int | None = None
    cpu_wait_s: float | None = None
    radio_technologies: tuple[str, ...] = ()
    radio_bands: tuple[str, ...] = ()
    radio_rsrp_dbm: float | None = None
    radio_rsrq_db: float | None = None
    radio_sinr_db: float | None = None
    radio_operator: str | None = None
    radio_cell: str | None = None
    budget_used_bytes: int | None = None
    budget_bytes: int | None = None
    asked: str | None = None
    """Who wanted it beside the schedule: `operator` or `confirmation`; the verdict of a month leaves such tests out."""
    clock: str | None = None


class LatencyView(View, frozen=True, kw_only=True, omit_defaults=True):
    at: dt.datetime
    method: str
    sent: int
    received: int
    loss_percent: float
    rtt_min_ms: float | None = None
    rtt_p50_ms: float | None = None
    rtt_p95_ms: float | None = None
    jitter_ms: float | None = None
    error: str | None = None


class SpeedHistory(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    agent: str
    line: str
    from_: dt.datetime
    to: dt.datetime
    results: list[SpeedView]
    """Oldest first; `from` is included, `to` is not."""


class LatencyHistory(View, frozen=True, kw_only=True, rename={"from_": "from"}):
    agent: str
    line: str
    from_: dt.datetime
    to: dt.datetime
    results: list[LatencyView]


class HealthView(View, frozen=True, kw_only=True, omit_defaults=True):
    at: dt.datetime
    cpu_percent: float
    mem_used_percent: float
    disk_free_bytes: int
    uptime_s: float
    spool_depth: int
    clock_synced: bool
    temp_c: float | None = None
    throttled: int | None = None
    """Bits of the unit's `get_throttled`; 0 is none."""
    overrides: int | None = None
    """How many settings of the unit were changed from afar."""


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
    health: HealthView | None = None


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


def line_view(status: LineStatus, now: dt.datetime, found: Found | None) -> Line:
    """A line of the snapshot, its age as of `now`, its completeness as last found."""
    judged = status.judgement
    age = None if judged.last_result_at is None else max(0.0, (now - judged.last_result_at).total_seconds())
    return Line.of(
        status.row,
        target_mbps=judged.target_mbps,
        state=judged.state,
        samples=judged.samples,
        failed=sum(sample.error is not None for sample in status.samples),
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
    return Sample(at=row.at, down_mbps=row.down_mbps, flags=row.flags, error=row.error)


def speed_view(row: SpeedRow) -> SpeedView:
    return SpeedView.of(row, counts=counted_mbps(sample_of(row)) is not None)


def latency_view(row: LatencyRow) -> LatencyView:
    return LatencyView.of(row)


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
        health=HealthView.of(health) if health else None,
    )
