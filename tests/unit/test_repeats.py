"""What the intake hands to the archive of results that come again."""

import datetime as dt
import uuid

from collector.ingest.quota import RECENT, Quota
from collector.ingest.repeats import Repeats
from collector.ingest.validate import Accepted, ResultId
from collector.settings import QuotaSettings
from collector.store.points import Point, Value

SPOOL = uuid.UUID(int=7)


def accepted(seq: int, agent: str = "nd-a", line: str = "ftth", method: str = "") -> Accepted:
    at_ns = int(dt.datetime(2026, 11, 30, tzinfo=dt.UTC).timestamp()) * 10**9 + seq
    fields: dict[str, Value] = {"spool": str(SPOOL), "seq": seq, "method": method}
    return Accepted(ResultId(agent, SPOOL, seq), Point("latency", {"agent": agent, "line": line}, fields, at_ns))


def repeats() -> Repeats:
    return Repeats(Quota(QuotaSettings()).digest_of)


def test_a_result_is_handed_on_once_in_whatever_words_it_comes() -> None:
    known = repeats()
    fresh = known.without([("first", accepted(1)), ("again", accepted(1, method="tcp")), ("other", accepted(2))])
    assert [message for message, _ in fresh.values()] == ["first", "other"]
    known.remember(fresh)
    assert not known.without([("again", accepted(1, method="icmp")), ("other", accepted(2))])
    assert known.without([("of another unit", accepted(1, agent="nd-b")), ("of another line", accepted(1, line="4g"))])


def test_what_could_not_be_archived_is_handed_on_again() -> None:
    known = repeats()
    assert known.without([("first", accepted(1))])
    assert known.without([("again", accepted(1))])


def test_a_unit_is_remembered_as_far_as_the_quota_remembers_it() -> None:
    known = repeats()
    for seq in range(RECENT + 1):
        known.remember(known.without([("", accepted(seq))]))
    assert known.without([("", accepted(0))])
    assert not known.without([("", accepted(seq)) for seq in range(1, RECENT + 1)])
