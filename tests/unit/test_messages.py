"""The contract: what encodes decodes, the schemas in the documentation are these types, and nonsense is refused."""

import datetime as dt
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.delivery.receipt import MAX_ROWS
from agent.engines import ENGINES
from agent.loop import MAX_TEST_S as MAX_JOB_S
from agent.measure.download import UNMETERED_BYTES
from agent.measure.engines.loaded_latency import GIVE_UP_S, IDLE_TIMEOUT_S
from agent.measure.engines.speedtest_cli import TIMEOUT_S
from xomnet.contract.commands import Command, Reply
from xomnet.contract.messages import (
    Ack,
    AgentState,
    Event,
    EventResult,
    Health,
    HealthResult,
    Interface,
    Latency,
    LatencyResult,
    Outage,
    OutageResult,
    Rejected,
    Result,
    Speed,
    SpeedResult,
    Stored,
    decode_ack,
    decode_result,
    decode_state,
    encode,
)
from xomnet.contract.schemas import schemas
from xomnet.contract.values import MAX_PORT_MBPS, MAX_RECEIPT, MAX_TEST_BYTES, MAX_TEST_S

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol"
ID = UUID("6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11")
AT = dt.datetime(2026, 11, 1, 7, 30, 0, 123456, dt.UTC)
ENVELOPE: dict[str, Any] = {"v": 1, "agent": "nd-a-1", "spool": ID, "seq": 1, "boot": ID, "at": AT, "clock": "synced"}

RESULTS: list[Result] = [
    SpeedResult(
        **ENVELOPE, line="ftth", data=Speed(engine="http", server="http://s/", down_mbps=151.2, flags=("wifi",))
    ),
    SpeedResult(
        **ENVELOPE, line="4g", data=Speed(engine="http", server="", error="timeout", error_detail="sau 10 giây")
    ),
    LatencyResult(
        **ENVELOPE,
        line="ftth",
        data=Latency(method="icmp", anchors=("1.1.1.1",), sent=10, received=9, loss_percent=10.0, rtt_min_ms=3.5),
    ),
    OutageResult(**ENVELOPE, line="ftth", data=Outage(duration_s=30.5, failed_probes=3, anchors=("1.1.1.1",))),
    HealthResult(
        **ENVELOPE,
        data=Health(
            version="0.1.0",
            cpu_percent=3.0,
            load1=0.2,
            mem_used_percent=20.0,
            disk_free_bytes=10,
            disk_used_percent=1.0,
            uptime_s=5.0,
            rss_bytes=6,
            spool_depth=0,
            spool_bytes=7,
            clock_synced=False,
            interfaces=(Interface(name="eth0", up=True, rx_bytes=1, tx_bytes=2),),
        ),
    ),
    EventResult(**ENVELOPE, data=Event(name="evicted", first_seq=3, last_seq=9)),
]
OTHERS: dict[str, list[msgspec.Struct]] = {
    "ack": [
        Ack(agent="nd-a-1", time=AT),
        Ack(
            agent="nd-a-1",
            time=AT,
            stored=(Stored(spool=ID, seqs=(1, 2)),),
            rejected=(Rejected(spool=ID, seq=3, reason="r"),),
        ),
    ],
    "state": [
        AgentState(agent="nd-a-1", online=False, version="0.1.0"),
        AgentState(agent="a", online=True, version="1", at=AT),
    ],
    "command": [Command(id=ID, name="measure", expires=AT, line="ftth")],
    "reply": [Reply(id=ID, agent="nd-a-1", ok=True)],
}


def plain(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode(result))
    return found


def changed(**changes: Any) -> bytes:
    """A speed result in which `data__x` replaces a field of its data, and anything else one of the envelope."""
    message = plain(RESULTS[0])
    for name, value in changes.items():
        place = message["data"] if name.startswith("data__") else message
        place[name.removeprefix("data__")] = value
    return json.dumps(message).encode()


@pytest.mark.parametrize("result", RESULTS, ids=lambda r: type(r).__name__)
def test_a_result_comes_back_as_it_was_said(result: Result) -> None:
    assert decode_result(encode(result)) == result
    assert encode(decode_result(encode(result))) == encode(result)


def test_acks_and_states_come_back_as_they_were_said() -> None:
    assert [decode_ack(encode(ack)) for ack in OTHERS["ack"]] == OTHERS["ack"]
    assert [decode_state(encode(state)) for state in OTHERS["state"]] == OTHERS["state"]


def test_what_is_absent_is_not_said() -> None:
    assert b"null" not in encode(RESULTS[1])
    assert set(plain(RESULTS[1])["data"]) == {"engine", "server", "error", "error_detail"}


def test_times_are_said_in_utc_to_the_microsecond() -> None:
    assert plain(RESULTS[0])["at"] == "2026-11-01T07:30:00.123456Z"


def test_the_schemas_in_the_documentation_are_those_of_the_types() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in PROTOCOL.glob("*.schema.json")}
    assert kept == schemas(), "run `make schemas` and commit docs/protocol"


@pytest.mark.parametrize("name", ["result", *OTHERS])
def test_every_message_meets_its_schema(name: str) -> None:
    schema = json.loads(schemas()[f"{name}.schema.json"])
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    for message in RESULTS if name == "result" else OTHERS[name]:
        validator.validate(json.loads(encode(message)))


def test_the_schema_refuses_what_the_decoder_refuses() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schemas()["result.schema.json"]))
    for payload in (
        changed(agent="UPPER"),
        changed(agent="a\n"),
        changed(data__down_mbps=-1),
        changed(seq=0),
        changed(v=2),
    ):
        assert not validator.is_valid(json.loads(payload))
        with pytest.raises(msgspec.ValidationError):
            decode_result(payload)


def test_a_newer_agent_may_say_more() -> None:
    payload = changed(mood="fine", data__upload_mbps=50.0, data__flags=["brand_new_flag"], data__error="brand.new")
    result = decode_result(payload)
    assert isinstance(result, SpeedResult)
    assert result.data.flags == ("brand_new_flag",)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (changed(v=2), "`$.v`"),
        (changed(agent="ND-A"), "`$.agent`"),
        (changed(agent="nd-a-1\n"), "`$.agent`"),
        (changed(agent="../etc"), "`$.agent`"),
        (changed(agent="a" * 33), "`$.agent`"),
        (changed(line="+"), "`$.line`"),
        (changed(spool="not-a-uuid"), "`$.spool`"),
        (changed(seq=0), "`$.seq`"),
        (changed(seq=2**53 + 1), "`$.seq`"),
        (changed(seq=1.5), "`$.seq`"),
        (changed(at="2026-11-01T07:30:00"), "`$.at`"),
        (changed(at="yesterday"), "`$.at`"),
        (changed(at="0001-01-01T00:00:00+14:00"), "`$.at`"),
        (changed(clock="guessed"), "`$.clock`"),
        (changed(kind="weather"), "`$.kind`"),
        (changed(data__down_mbps=-1), "`$.data.down_mbps`"),
        (changed(data__down_mbps="151"), "`$.data.down_mbps`"),
        (changed(data__down_mbps=100_001), "`$.data.down_mbps`"),
        (changed(data__series_mbps=[100_001.0]), "`$.data.series_mbps[0]`"),
        (changed(data__bytes=2**53), "`$.data.bytes`"),
        (changed(data__other_bytes=2**53), "`$.data.other_bytes`"),
        (changed(data__duration_s=601), "`$.data.duration_s`"),
        (changed(data__streams=129), "`$.data.streams`"),
        (changed(data__rtt_idle_ms=60_001), "`$.data.rtt_idle_ms`"),
        (changed(kind="event", data={"name": "manifest", "count": 2**53}), "`$.data.count`"),
        (changed(data__bytes=-1), "`$.data.bytes`"),
        (changed(data__bytes=1.5), "`$.data.bytes`"),
        (changed(data__flags=["x"] * 33), "`$.data.flags`"),
        (changed(data__flags=["Not A Word"]), "`$.data.flags[0]`"),
        (changed(data__server="x" * 513), "`$.data.server`"),
        (changed(data__series_mbps=[1.0] * 401), "`$.data.series_mbps`"),
        (changed().replace(b"151.2", b"1e999"), "`$.data.down_mbps`"),
        (changed(data=None), "`$.data`"),
    ],
)
def test_a_field_outside_its_bounds_is_refused_by_name(payload: bytes, says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        decode_result(payload)
    assert says in str(raised.value)


def test_what_units_of_0_1_0_can_measure_is_within_the_bounds() -> None:
    assert 100 * max(UNMETERED_BYTES, *(spec.uncapped_bytes or 0 for spec in ENGINES.values())) < MAX_TEST_BYTES
    assert MAX_TEST_S > 2 * MAX_JOB_S > 2 * TIMEOUT_S
    assert MAX_RECEIPT > 10 * MAX_ROWS
    most_s = max(IDLE_TIMEOUT_S, GIVE_UP_S, 3)
    result = changed(data__rtt_idle_ms=1000 * most_s, data__link_mbps=MAX_PORT_MBPS, data__bytes=450_000_000)
    assert isinstance(decode_result(result), SpeedResult)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"speed"',
        changed().replace(b"151.2", b"NaN"),
        changed().replace(b"151.2", b"-Infinity"),
        changed()[:-1] + b',"deep":' + b"[" * 7000 + b"]" * 7000 + b"}",
        changed()[:-1] + b',"deep":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}",
    ],
)
def test_what_is_no_message_raises_only_a_decode_error(payload: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_result(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
def test_no_bytes_make_a_reader_stumble(payload: bytes) -> None:
    for decode in (decode_result, decode_ack, decode_state):
        with pytest.raises(msgspec.DecodeError):
            decode(payload)


@given(st.sampled_from(sorted(plain(RESULTS[0]))), json_values)
def test_any_value_in_any_field_is_taken_or_refused(field: str, value: Any) -> None:
    try:
        result = decode_result(changed(**{field: value}))
    except msgspec.DecodeError:
        return
    assert decode_result(encode(result)) == result


@given(st.sampled_from(sorted(Speed.__struct_fields__)), json_values)
def test_any_value_in_any_field_of_a_test_is_taken_or_refused(field: str, value: Any) -> None:
    try:
        result = decode_result(changed(**{f"data__{field}": value}))
    except msgspec.DecodeError:
        return
    assert decode_result(encode(result)) == result
