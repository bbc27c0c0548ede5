"""A unit one version ahead and one behind: what is understood is stored, what is not says who is to be upgraded."""

import datetime as dt
import json
import uuid
from typing import Any

import pytest

from collector.ingest.validate import Accepted, RefusedMessage, ResultId, validate
from tests.support.stored import AGENT, registry

NOW = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
SPOOL = uuid.UUID(int=7)


def message(data: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """A download test as the first release sent it, without what came later."""
    found = {"engine": "http", "server": "s", "down_mbps": 100.0} if data is None else data
    envelope = {
        **{"v": 1, "agent": AGENT, "spool": str(SPOOL), "seq": 5, "boot": str(uuid.UUID(int=1)), "line": "ftth"},
        **{"kind": "speed", "at": "2026-11-01T11:00:00Z", "clock": "synced", "data": found},
    }
    return json.dumps({**envelope, **changes}).encode()


def verdict(payload: bytes) -> Accepted | RefusedMessage:
    return validate(f"xomnet/v1/{AGENT}/up", payload, registry(), NOW)


def accepted(payload: bytes) -> Accepted:
    found = verdict(payload)
    assert isinstance(found, Accepted), found
    return found


def test_fields_of_a_newer_unit_are_left_out_and_the_rest_is_stored() -> None:
    newer = {
        "engine": "http",
        "server": "s",
        "down_mbps": 100.0,
        "entropy": 7,
        "radio": {"technologies": [], "mimo": 4},
    }
    point = accepted(message(newer, signature="x", at_precision={"ns": 1})).point
    assert (point.fields["down_mbps"], point.fields["seq"]) == (100.0, 5)
    assert not {"entropy", "radio_mimo", "signature", "at_precision"} & point.fields.keys()


def test_flags_errors_and_engines_of_a_newer_unit_are_kept_as_they_are() -> None:
    words = {
        "engine": "quic",
        "server": "s",
        "flags": ["wifi", "solar_storm"],
        "error": "eclipse",
        "stop_reason": "bored",
    }
    fields = accepted(message(words)).point.fields
    assert (fields["engine"], fields["flags"], fields["error"]) == ("quic", "wifi,solar_storm", "eclipse")
    assert fields["stop_reason"] == "bored"


def test_what_an_older_unit_does_not_say_is_absent() -> None:
    fields = accepted(message({"engine": "http", "server": "s"})).point.fields
    assert fields.keys() == {"engine", "server", "spool", "seq", "clock", "received_ms"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"v": 2}, "contract version 2, this collector reads 1: upgrade the collector, then run"),
        ({"v": 2, "kind": "aurora", "seq": 5, "data": [1]}, "contract version 2"),
        ({"v": 0}, "contract version 0; this collector reads 1: upgrade the unit"),
        ({"kind": "aurora"}, "kind 'aurora', which this collector does not know: upgrade the collector"),
    ],
)
def test_what_is_not_understood_names_the_side_to_upgrade_and_its_sender_hears_of_it(
    changes: dict[str, Any], says: str
) -> None:
    found = verdict(message(**changes))
    assert isinstance(found, RefusedMessage)
    assert found.code == "version"
    assert says in found.reason
    assert found.id == ResultId(AGENT, SPOOL, 5)


@pytest.mark.parametrize(
    "changes", [{"v": "2"}, {"v": None}, {"kind": 7}, {"kind": "speed", "data": {}}, {"clock": "sundial"}]
)
def test_what_is_wrong_in_our_own_version_is_no_matter_of_versions(changes: dict[str, Any]) -> None:
    found = verdict(message(**changes))
    assert isinstance(found, RefusedMessage)
    assert found.code == "malformed"
