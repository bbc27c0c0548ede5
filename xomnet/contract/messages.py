"""The messages of contract version 1, as types.

`docs/protocol/` holds the JSON Schemas exported from here. A measured field is declared here and nowhere else, with its
type, its label and its place (`fields`). Units are in the field names. Missing is absent: never -1, never 0. Names that
may grow (flags, errors, stop reasons) are open strings, so that a newer agent and an older collector understand each
other.
"""

import datetime as dt
from typing import Annotated, Literal, TypeVar, get_args
from uuid import UUID

from msgspec import DecodeError, Meta, Struct, ValidationError, json

from xomnet.contract.characters import clean_json
from xomnet.contract.fields import Field
from xomnet.contract.permission import PermissionText
from xomnet.contract.radio import Radio
from xomnet.contract.values import (
    Celsius,
    Count,
    Echoes,
    Instant,
    LinkMbps,
    Mbps,
    Ms,
    Name,
    Packets,
    Percent,
    ReceiptCount,
    Seconds,
    SpoolDepth,
    Streams,
    TestBytes,
    TestSeconds,
    Text,
    Word,
    Words,
)

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

    engine: Annotated[Word, Field("Test program", "Chương trình đo")]
    server: Annotated[Text, Field("Measurement server", "Máy chủ đo")]
    down_mbps: Annotated[Mbps | None, Field("Download", "Tải xuống", "column")] = None
    """Steady goodput: TCP payload over the measured window. The headline."""
    early_mbps: Annotated[Mbps | None, Field("Early stop", "Tốc độ nếu dừng sớm")] = None
    """Of an audit, which runs its full length: what `down_mbps` would have been, had it stopped early."""
    gross_mbps: Annotated[Mbps | None, Field("Gross speed", "Tốc độ toàn phần")] = None
    """All bytes over all the time from the first request, ramp included."""
    trimmed_mbps: Annotated[Mbps | None, Field("Trimmed speed", "Tốc độ rút gọn")] = None
    """Mean of 20 slices without the lowest 30 % and the highest 10 %."""
    bytes: Annotated[TestBytes | None, Field("Data", "Dung lượng", "column")] = None
    duration_s: Annotated[TestSeconds | None, Field("Duration", "Thời gian truyền", "column")] = None
    measured_s: Annotated[TestSeconds | None, Field("Steady part", "Thời gian của phần ổn định")] = None
    streams: Annotated[Streams | None, Field("Parallel streams", "Số luồng song song")] = None
    stop_reason: Annotated[Word | None, Field("Why the test ended", "Lý do dừng")] = None
    connect_ms: Annotated[Ms | None, Field("Connect time", "Thời gian kết nối")] = None
    rtt_idle_ms: Annotated[Ms | None, Field("Idle latency", "Độ trễ khi không tải", "column")] = None
    rtt_loaded_ms: Annotated[Ms | None, Field("Loaded latency", "Độ trễ khi có tải", "column")] = None
    rtt_loaded_p95_ms: Annotated[
        Ms | None, Field("Loaded latency, 95th percentile", "Độ trễ khi có tải, phân vị 95")
    ] = None
    flags: Annotated[Words, Field("Flags", "Cờ")] = ()
    error: Annotated[Word | None, Field("Error code", "Mã lỗi")] = None
    error_detail: Annotated[Text | None, Field("Error in words", "Mô tả lỗi")] = None
    cpu_s: Annotated[TestSeconds | None, Field("Processor time", "Thời gian dùng bộ xử lý")] = None
    cpu_wait_s: Annotated[TestSeconds | None, Field("Time waiting for the processor", "Thời gian chờ bộ xử lý")] = None
    """The receiver was ready to run and had no processor."""
    other_bytes: Annotated[TestBytes | None, Field("Data received by others", "Dữ liệu của máy khác")] = None
    """Bytes that the interface received beside the test's payload and its headers."""
    reordered_packets: Annotated[Packets | None, Field("Reordered packets", "Số gói đến sai thứ tự")] = None
    link_mbps: Annotated[LinkMbps | None, Field("Speed of the unit's port", "Tốc độ cổng mạng của thiết bị đo")] = None
    radio: Radio | None = None
    budget_used_bytes: Annotated[Count | None, Field("Used this month", "Dung lượng đã dùng trong tháng")] = None
    budget_bytes: Annotated[Count | None, Field("Monthly budget", "Hạn mức dung lượng tháng")] = None
    asked: Annotated[Word | None, Field("Requested by", "Bên yêu cầu đo")] = None
    """Who wanted this test beside the schedule: `operator`, or `confirmation` of a line that looks short. Such tests
    are made when a line looks bad, so the verdict of a month leaves them out.
    """
    series_mbps: Annotated[
        tuple[Mbps, ...], Meta(max_length=400), Field("Speed in each 100 ms", "Tốc độ trong từng 100 ms", "raw")
    ] = ()
    """Goodput of each 100 ms from the first request on."""


class Latency(Data, frozen=True, kw_only=True, omit_defaults=True):
    """Ten echoes to each anchor; no round trip where nothing answered."""

    method: Annotated[Word, Field("Method", "Cách đo")]
    anchors: Annotated[tuple[Text, ...], Meta(max_length=8), Field("Anchors", "Điểm mốc", "raw")]
    sent: Annotated[Echoes, Field("Echoes sent", "Số gói đã gửi")]
    received: Annotated[Echoes, Field("Echoes answered", "Số gói có trả lời")]
    loss_percent: Annotated[Percent, Field("Packet loss", "Tỷ lệ mất gói")]
    rtt_min_ms: Annotated[Ms | None, Field("Shortest round trip", "Độ trễ nhỏ nhất")] = None
    rtt_p50_ms: Annotated[Ms | None, Field("Median round trip", "Độ trễ trung vị")] = None
    rtt_p95_ms: Annotated[Ms | None, Field("Round trip, 95th percentile", "Độ trễ, phân vị 95")] = None
    jitter_ms: Annotated[Ms | None, Field("Jitter", "Biến động trễ (jitter)")] = None
    """Mean absolute difference of consecutive round trips."""
    flags: Annotated[Words, Field("Flags", "Cờ")] = ()
    error: Annotated[Word | None, Field("Error code", "Mã lỗi")] = None
    error_detail: Annotated[Text | None, Field("Error in words", "Mô tả lỗi")] = None


class Interface(Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: Annotated[Text, Field("Port", "Cổng mạng")]
    up: Annotated[bool, Field("Up", "Đang hoạt động")]
    rx_bytes: Annotated[Count, Field("Received", "Đã nhận")]
    tx_bytes: Annotated[Count, Field("Sent", "Đã gửi")]
    rx_errors: Annotated[Count, Field("Receive errors", "Lỗi nhận")] = 0
    tx_errors: Annotated[Count, Field("Send errors", "Lỗi gửi")] = 0
    link_mbps: Annotated[LinkMbps | None, Field("Speed", "Tốc độ")] = None


class Health(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The unit itself."""

    version: Annotated[Text, Field("Version", "Phiên bản")]
    cpu_percent: Annotated[Percent, Field("Processor load", "Mức dùng bộ xử lý")]
    load1: Annotated[float, Meta(ge=0, le=1e6), Field("Load average, 1 min", "Tải trung bình trong 1 phút")]
    mem_used_percent: Annotated[Percent, Field("Used memory", "Bộ nhớ đã dùng")]
    disk_free_bytes: Annotated[Count, Field("Free disk space", "Dung lượng đĩa còn trống")]
    disk_used_percent: Annotated[Percent, Field("Used disk space", "Dung lượng đĩa đã dùng")]
    uptime_s: Annotated[Seconds, Field("Time since boot", "Thời gian từ lúc khởi động")]
    rss_bytes: Annotated[Count, Field("Memory of the agent", "Bộ nhớ của phần mềm đo")]
    spool_depth: Annotated[SpoolDepth, Field("Results waiting", "Số kết quả chờ gửi")]
    spool_bytes: Annotated[Count, Field("Size of the spool", "Dung lượng kết quả chờ gửi")]
    clock_synced: Annotated[bool, Field("Clock synchronised", "Đồng hồ đã đồng bộ")]
    clock_error_ms: Annotated[Ms | None, Field("Largest clock error", "Sai số đồng hồ tối đa")] = None
    """The kernel's bound on its own error (adjtimex maxerror)."""
    temp_c: Annotated[Celsius | None, Field("Temperature", "Nhiệt độ")] = None
    throttled: Annotated[Count | None, Field("Power and heat (get_throttled)", "Nguồn và nhiệt (get_throttled)")] = None
    """Bits of `get_throttled`: 0 under-voltage now, 1 frequency capped, 2 throttled, 3 soft limit; 16-19 since boot."""
    interfaces: Annotated[
        tuple[Interface, ...], Meta(max_length=16), Field("Network ports", "Các cổng mạng", "raw")
    ] = ()
    overrides: Annotated[Count | None, Field("Settings changed from the server", "Số mục cấu hình đổi từ máy chủ")] = (
        None
    )
    """The number of settings in force that the server changed."""


class Outage(Data, frozen=True, kw_only=True, omit_defaults=True):
    """A time in which no anchor answered. `at` of the envelope is its start."""

    duration_s: Annotated[Seconds, Field("Duration", "Thời gian gián đoạn")]
    failed_probes: Annotated[Count, Field("Probes without an answer", "Số lượt đo không có trả lời")]
    anchors: Annotated[tuple[Text, ...], Meta(max_length=8), Field("Anchors", "Điểm mốc")] = ()


class Event(Data, frozen=True, kw_only=True, omit_defaults=True):
    """Something an operator would want to know: `started`, `spool_reset`, `evicted`, `settings_refused`,
    `settings_changed` and `settings_rolled_back` (remote settings) … `manifest`: what the spool took in from
    `first_seq` to `last_seq`, of the envelope's line, or of the unit itself.
    """

    name: Annotated[Word, Field("Event", "Sự kiện")]
    detail: Annotated[Text | None, Field("Detail", "Chi tiết")] = None
    first_seq: Annotated[Count | None, Field("First number", "Số thứ tự đầu")] = None
    last_seq: Annotated[Count | None, Field("Last number", "Số thứ tự cuối")] = None
    count: Annotated[ReceiptCount | None, Field("Number of results", "Số kết quả")] = None
    digest: Annotated[Word | None, Field("Digest", "Mã kiểm tra")] = None
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
    permission: PermissionText | None = None
    """What the unit shows to measurement servers from now on; comes some times a day."""


class AgentState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Retained; the offline one is the agent's will, so it carries no time."""

    v: Literal[1] = 1
    agent: Name
    online: bool
    version: Text
    at: Instant | None = None


_PLAIN = bytes(set(range(ord(" "), 0x7F)) - {ord("\\")})

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


def _is_plain(payload: bytes) -> bool:
    """True if nothing can be wrong with the texts, as in nearly every message."""
    return not payload.translate(None, _PLAIN)


def decode_with(decoder: json.Decoder[T], payload: bytes) -> T:
    """Decodes a document with a typed decoder, its texts cleaned. Raises msgspec.DecodeError, whatever is wrong."""
    try:
        return decoder.decode(payload if _is_plain(payload) else clean_json(payload))
    except RecursionError as error:
        raise DecodeError("Nested too deeply") from error
