"""Hostile payloads: some thousands here, any number by `python -m tests.security --cases 100000`."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest.validate import validate
from collector.store.influx import InfluxStore
from collector.store.line_protocol import _head
from collector.store.points import SCHEMAS, TAGS
from tests.security.check import NOW, REGISTRY, Harm, lines_of, run
from tests.support.services import InfluxV2
from tests.support.stored import AGENT


def test_thousands_of_hostile_payloads_do_no_harm_and_each_has_its_verdict(influx_v2: InfluxV2) -> None:
    codes, points = run(4000)
    assert codes.total() == 4000
    assert {"stored", "malformed", "version", "topic", "oversize", "foreign_agent", "future", "unknown_line"} <= set(
        codes
    )
    assert codes["stored"] > 800

    bucket = f"hostile-{uuid.uuid4().hex[:12]}"
    influx_v2.create(bucket)
    store = InfluxStore(influx_v2.url, "any", bucket)
    assert store.write(points) == []
    store.close()
    said = {
        what: json.loads(influx_v2.query(f"SHOW {what}", bucket)) for what in ("MEASUREMENTS", "TAG KEYS", "FIELD KEYS")
    }
    names = {what: _rows(answer) for what, answer in said.items()}
    assert {name for _, name in names["MEASUREMENTS"]} <= set(SCHEMAS)
    assert {tag for _, tag in names["TAG KEYS"]} <= set(TAGS)
    assert all(field in SCHEMAS[measurement] for measurement, field in names["FIELD KEYS"])


def _rows(answer: object) -> list[tuple[str, str]]:
    return [(one["name"], row[0]) for one in answer["results"][0]["series"] for row in one["values"]]  # type: ignore[index]


@given(st.binary(max_size=300) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_have_a_verdict(payload: bytes) -> None:
    assert validate(f"xomnet/v1/{AGENT}/up", payload, REGISTRY, NOW) is not None


Leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
Json = st.recursive(Leaf, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)


@given(st.dictionaries(st.sampled_from(["v", "agent", "spool", "seq", "kind", "at", "data", "line", "x"]), Json))
def test_any_json_has_a_verdict(message: dict[str, object]) -> None:
    payload = json.dumps(message).encode()
    assert validate(f"xomnet/v1/{AGENT}/up", payload, REGISTRY, NOW) is not None


def test_the_reader_of_line_protocol_reads_what_is_there() -> None:
    good = 'speed,agent=a\\ b server="x\ny",n=1i,ok=True 5'
    assert list(lines_of(good)) == [("speed", {"agent": "a b"}, {"server": "x\ny", "n": 1, "ok": True}, 5)]
    forged = 'speed,agent=a server="x" 1\nspeed,agent=thief down_mbps=9.0,y="" 5'
    assert [tags["agent"] for _, tags, _, _ in lines_of(forged)] == ["a", "thief"]


@pytest.mark.parametrize(
    ("fault", "instead"),
    [
        ("collector.store.line_protocol._escape", str),
        ("influxdb_client.client.write.point._escape_key", lambda value, *_: str(value)),
    ],
)
def test_a_serialiser_that_does_not_escape_is_caught(
    fault: str, instead: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fault, instead)
    _head.cache_clear()
    try:
        with pytest.raises(Harm, match="case"):
            run(1000)
    finally:
        _head.cache_clear()
