"""Which messages become points. Pure: a message, the registry and the time give a point or a reason."""

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

import msgspec

from collector.store.exclusions import MEASURED_AHEAD
from collector.store.points import RESULTS, Point, point_of
from xomnet.contract.messages import MAX_PAYLOAD_BYTES, VERSION, HealthResult, decode_result, decode_with
from xomnet.contract.topics import parse
from xomnet.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class ResultId:
    """What an ack names: under which agent's topic, which spool, which number."""

    agent: str
    spool: UUID
    seq: int


@dataclass(frozen=True, slots=True)
class Accepted:
    id: ResultId
    point: Point


@dataclass(frozen=True, slots=True)
class RefusedMessage:
    """`id` is None where not even that can be read; `agent` is the topic's."""

    code: str
    reason: str
    agent: str | None
    id: ResultId | None = None


class _Kind(msgspec.Struct):
    v: int
    kind: str


class _Id(msgspec.Struct):
    spool: UUID
    seq: int


_kinds, _ids = msgspec.json.Decoder(_Kind), msgspec.json.Decoder(_Id)


def validate(topic: str, payload: bytes, registry: Registry, now: dt.datetime) -> Accepted | RefusedMessage:
    """A result that came at `now` as a point with its registry row's tags, or why not."""
    place = parse(topic)
    if place is None or place.channel != "up":
        return RefusedMessage("topic", f"{topic!r} is no topic of results", None)
    if len(payload) > MAX_PAYLOAD_BYTES:
        return RefusedMessage("oversize", f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES}", place.agent)
    try:
        result = decode_result(payload)
    except msgspec.DecodeError as error:
        id_ = _salvaged_id(payload, place.agent)
        if (upgrade := _upgrade(payload)) is not None:
            return RefusedMessage("version", upgrade, place.agent, id_)
        return RefusedMessage("malformed", str(error)[:500], place.agent, id_)
    id_ = ResultId(place.agent, result.spool, result.seq)

    def refuse(code: str, reason: str) -> RefusedMessage:
        return RefusedMessage(code, reason, place.agent, id_)

    if result.agent != place.agent:
        return refuse("foreign_agent", f"payload of {result.agent!r} under the topic of {place.agent!r}")
    if result.at > now + MEASURED_AHEAD:
        return refuse("future", f"measured at {result.at.isoformat()}, the server's time is {now.isoformat()}")
    if not registry.has_agent(result.agent):
        return refuse("unknown_agent", f"no line of {result.agent!r} in the registry; add its rows")
    line = None if isinstance(result, HealthResult) else result.line
    row = registry.row_of_agent(result.agent, result.at) if line is None else registry.at(result.agent, line, result.at)
    if row is None:
        what = "the unit" if line is None else f"line {line!r}"
        return refuse(
            "unknown_line", f"{what} of {result.agent!r} was not registered on {result.at.date()}; add its row"
        )
    try:
        return Accepted(id_, point_of(result, row, now))
    except (OverflowError, ValueError) as error:
        return refuse("malformed", str(error)[:500])


def _upgrade(payload: bytes) -> str | None:
    """Who is to be upgraded, where a message that can't be read is of another version of the contract."""
    try:
        found = decode_with(_kinds, payload)
    except msgspec.DecodeError:
        return None
    if found.v < VERSION:
        return f"contract version {found.v}; this collector reads {VERSION}: upgrade the unit"
    if found.v > VERSION:
        what = f"contract version {found.v}, this collector reads {VERSION}"
    elif found.kind not in RESULTS:
        what = f"a result of kind {found.kind[:40]!r}, which this collector does not know"
    else:
        return None
    return f"{what}: upgrade the collector, then run `xomnet collector resend`"


def _salvaged_id(payload: bytes, agent: str) -> ResultId | None:
    """The id of a message that is otherwise wrong, so that its sender learns of the rejection."""
    try:
        found = decode_with(_ids, payload)
    except msgspec.DecodeError:
        return None
    return ResultId(agent, found.spool, found.seq) if 0 < found.seq <= 2**53 else None
