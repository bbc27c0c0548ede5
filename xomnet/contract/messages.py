"""The messages of contract version 1, as types.

`docs/protocol/` holds the JSON Schemas exported from here. Units are in the field names. Missing is absent:
never -1, never 0. Names that may grow (flags, errors, stop reasons) are open strings, so that a newer agent and an
older collector understand each other.
"""

import datetime as dt
from typing import Annotated, Literal, TypeVar, get_args
from uuid import UUID

from msgspec import DecodeError, Meta, Struct, ValidationError, json

from xomnet.contract.radio import Radio
from xomnet.contract.values import Count, Instant, Mbps, Ms, Name, Percent, Seconds, Text, Word, Words

T = TypeVar("T")

VERSION = 1
MAX_PAYLOAD_BYTES = 16_384

Access = Literal["fixed", "mobile"]
ClockState = Literal["synced", "rebased", "estimated"]

Flag = Literal[
    "cross_traffic",
    "cpu_bound",
    "throttled",
    "link_below_target",
    "wifi",
    "rat_changed",
    "weak_radio",
    "clock_unsynced",
    "server_busy",
    "server_fallback",
    "no_steady_state",
    "capped_bytes",
    "portal",
    "payload_mismatch",
    "budget_skip",
    "link_down",
    "unit_fault",
    "audit",
]
FLAGS: frozenset[str] = frozenset(get_args(Flag))
"""The flags this version knows; a message may carry newer ones."""


class Data(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found; the envelope around it says who, when and in which order."""


class Speed(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A download test. A failed one has `error` and no `down_mbps`."""

    engine: Word
    server: Text
    down_mbps: Mbps | None = None
    """Steady goodput: TCP payload over the measured window. The headline."""
    early_mbps: Mbps | None = None
    """Of an audit, which runs its full length: what `down_mbps` would have been, had it stopped early."""
    gross_mbps: Mbps | None = None
    """All bytes over all the time from the first request, ramp included."""
    trimmed_mbps: Mbps | None = None
    """Mean of 20 slices without the lowest 30 % and the highest 10 %."""
    bytes: Count | None = None
    duration_s: Seconds | None = None
    measured_s: Seconds | None = None
    streams: Count | None = None
    stop_reason: Word | None = None
    connect_ms: Ms | None = None
    rtt_idle_ms: Ms | None = None
    rtt_loaded_ms: Ms | None = None
    rtt_loaded_p95_ms: Ms | None = None
    flags: Words = ()
    error: Word | None = None
    error_detail: Text | None = None
    cpu_s: Seconds | None = None
    cpu_wait_s: Seconds | None = None
    """The receiver was ready to run and had no processor."""
    other_bytes: Count | None = None
    """Bytes that the interface received beside the test's payload and its headers."""
    reordered_packets: Count | None = None
    link_mbps: Mbps | None = None
    radio: Radio | None = None
    budget_used_bytes: Count | None = None
    budget_bytes: Count | None = None
    asked: Word | None = None
    """Who wanted this test beside the schedule: `operator`, or `confirmation` of a line that looks short. Such tests
    are made when a line looks bad, so the verdict of a month leaves them out.
    """
    series_mbps: Annotated[tuple[Mbps, ...], Meta(max_length=400)] = ()
    """Goodput of each 100 ms from the first request on."""


class Latency(Data, frozen=True, kw_only=True, omit_defaults=True):
    """Ten echoes to each anchor; no round trip where nothing answered."""

    method: Word
    anchors: Annotated[tuple[Text, ...], Meta(max_length=8)]
    sent: Count
    received: Count
    loss_percent: Percent
    rtt_min_ms: Ms | None = None
    rtt_p50_ms: Ms | None = None
    rtt_p95_ms: Ms | None = None
    jitter_ms: Ms | None = None
    """Mean absolute difference of consecutive round trips."""
    flags: Words = ()
    error: Word | None = None
    error_detail: Text | None = None


class Interface(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: Text
    up: bool
    rx_bytes: Count
    tx_bytes: Count
    rx_errors: Count = 0
    tx_errors: Count = 0
    link_mbps: Mbps | None = None


class Health(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The unit itself."""

    version: Text
    cpu_percent: Percent
    load1: Annotated[float, Meta(ge=0, le=1e6)]
    mem_used_percent: Percent
    disk_free_bytes: Count
    disk_used_percent: Percent
    uptime_s: Seconds
    rss_bytes: Count
    spool_depth: Count
    spool_bytes: Count
    clock_synced: bool
    clock_error_ms: Ms | None = None
    """The kernel's bound on its own error (adjtimex maxerror)."""
    temp_c: Annotated[float, Meta(ge=-100, le=250)] | None = None
    throttled: Count | None = None
    """Bits of `get_throttled`: 0 under-voltage now, 1 frequency capped, 2 throttled, 3 soft limit; 16-19 since boot."""
    interfaces: Annotated[tuple[Interface, ...], Meta(max_length=16)] = ()
    overrides: Count | None = None
    """How many settings were changed from afar, and are not agent.yaml's."""


class Outage(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A time in which no anchor answered. `at` of the envelope is its start."""

    duration_s: Seconds
    failed_probes: Count
    anchors: Annotated[tuple[Text, ...], Meta(max_length=8)] = ()


class Event(Data, frozen=True, kw_only=True, omit_defaults=True):
    """Something an operator would want to know: `started`, `spool_reset`, `evicted`, `settings_refused`,
    `settings_changed` and `settings_rolled_back` (from afar) … `manifest`: what the spool took in from `first_seq` to
    `last_seq`, of the envelope's line, or of the unit itself.
    """

    name: Word
    detail: Text | None = None
    first_seq: Count | None = None
    last_seq: Count | None = None
    count: Count | None = None
    digest: Word | None = None
    """Of a manifest: SHA-256 of the numbers, rising, in decimal with commas; its first 32 hexadecimal digits."""


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """`(agent, spool, seq)` names a result for ever."""

    v: Literal[1]
    agent: Name
    spool: UUID
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    boot: UUID
    at: Instant
    clock: ClockState
    at_error_s: Seconds | None = None
    """How far `at` may be off; only with `clock: estimated`."""


class SpeedResult(Envelope, frozen=True, kw_only=True, omit_defaults=True, tag="speed"):
    line: Name
    data: Speed


class LatencyResult(Envelope, frozen=True, kw_only=True, omit_defaults=True, tag="latency"):
    line: Name
    data: Latency


class OutageResult(Envelope, frozen=True, kw_only=True, omit_defaults=True, tag="outage"):
    line: Name
    data: Outage


class HealthResult(Envelope, frozen=True, kw_only=True, omit_defaults=True, tag="health"):
    data: Health


class EventResult(Envelope, frozen=True, kw_only=True, omit_defaults=True, tag="event"):
    data: Event
    line: Name | None = None


Result = SpeedResult | LatencyResult | OutageResult | HealthResult | EventResult
RESULT_TYPES: tuple[type[Result], ...] = (SpeedResult, LatencyResult, OutageResult, HealthResult, EventResult)
KIND_OF: dict[type[Data], str] = {
    Speed: "speed",
    Latency: "latency",
    Outage: "outage",
    Health: "health",
    Event: "event",
}


class Stored(Struct, frozen=True, kw_only=True):
    spool: UUID
    seqs: tuple[int, ...]


class Rejected(Struct, frozen=True, kw_only=True):
    spool: UUID
    seq: int
    reason: Text


class Ack(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The collector's word: these are in the database, these never will be, and this is the server's time."""

    v: Literal[1] = 1
    agent: Name
    time: Instant
    stored: tuple[Stored, ...] = ()
    rejected: tuple[Rejected, ...] = ()


class AgentState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Retained; the offline one is the agent's will, so it carries no time."""

    v: Literal[1] = 1
    agent: Name
    online: bool
    version: Text
    at: Instant | None = None


_encoder = json.Encoder()
_results: json.Decoder[Result] = json.Decoder(Result)
_acks = json.Decoder(Ack)
_states = json.Decoder(AgentState)


def encode(message: Struct) -> bytes:
    """One JSON document. Raises nothing for our types."""
    return _encoder.encode(message)


def decode_result(payload: bytes) -> Result:
    """A result. Raises msgspec.DecodeError or its child msgspec.ValidationError, which names the field."""
    result = decode_with(_results, payload)
    try:
        result.at.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValidationError("A time before the year 1 - at `$.at`") from error
    return result


def decode_ack(payload: bytes) -> Ack:
    """An ack. Raises msgspec.DecodeError."""
    return decode_with(_acks, payload)


def decode_state(payload: bytes) -> AgentState:
    """An agent's state. Raises msgspec.DecodeError."""
    return decode_with(_states, payload)


def decode_with(decoder: json.Decoder[T], payload: bytes) -> T:
    """The document, typed. Raises msgspec.DecodeError, whatever is wrong with the bytes."""
    try:
        return decoder.decode(payload)
    except UnicodeDecodeError as error:
        raise DecodeError(f"Not UTF-8: {error}") from error
    except RecursionError as error:
        raise DecodeError("Nested too deeply") from error
