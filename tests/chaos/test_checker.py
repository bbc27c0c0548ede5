"""The checker on histories written by hand: it is content with a good one, and finds each kind of lie."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import checker
from tests.chaos.checker import INVARIANTS, Op, check, read

SPOOL = "0198c0de-0000-7000-8000-000000000001"
T_US = 1_790_000_000_123_456


def token(seq: int) -> str:
    return f"tok-{seq:032x}"


def intent(seq: int, **changes: Any) -> Op:
    fields = {"method": "icmp", "anchors": ["a", "b"], "loss_percent": 5, "error_detail": token(seq) + ' "x"'}
    op = {"op": "intent", "token": token(seq), "agent": "nd-a", "line": "ftth", "kind": "latency", "fields": fields}
    return op | {"true_us": T_US + seq, "at_us": T_US + seq, "poison": False} | changes


def committed(seq: int) -> Op:
    return {"op": "committed", "token": token(seq), "spool": SPOOL, "seq": seq}


def point(seq: int, tags: dict[str, str] | None = None, time_ns: int | None = None, **fields: Any) -> Op:
    stored = {"method": "icmp", "anchors": "a,b", "loss_percent": 5.0, "error_detail": token(seq) + ' "x"'}
    stored |= {"spool": SPOOL, "seq": seq, "clock": "synced"} | fields
    return {
        "op": "point",
        "measurement": "latency",
        "time_ns": (T_US + seq) * 1000 + seq if time_ns is None else time_ns,
        "tags": {"agent": "nd-a", "line": "ftth", "hamlet": "Xóm 5"} | (tags or {}),
        "fields": stored,
    }


def evicted(first: int, last: int, seq: int) -> Op:
    fields = {"name": "evicted", "first_seq": first, "last_seq": last, "spool": SPOOL, "seq": seq, "clock": "synced"}
    return {"op": "point", "measurement": "event", "time_ns": T_US * 1000, "tags": {"agent": "nd-a"}, "fields": fields}


def named(op: str, *seqs: int, **more: Any) -> Op:
    return {"op": op, "agent": "nd-a", "spool": SPOOL, "seqs": list(seqs), **more}


def letter(seq: int) -> Op:
    return {"op": "letter", "agent": "nd-a", "spool": SPOOL, "seq": seq, "code": "store"}


def archived(seq: int, of: int | None = None) -> Op:
    """A message of that number, with the token of `of`."""
    name = {"agent": "nd-a", "spool": SPOOL, "seq": seq}
    return {"op": "archived", "damaged": None, "token": token(of or seq), **name}


def read_after_kill(asked: list[int], found: list[int]) -> Op:
    return {"op": "read", "asked": [["nd-a", SPOOL, s] for s in asked], "found": [["nd-a", SPOOL, s] for s in found]}


GOOD: list[Op] = [
    {"op": "limits", "drain_s": 60, "spool_bytes": {"nd-a": 1000}, "rss_bytes": {"collector": 10**8}, "sends": 2.0},
    *(op for seq in (1, 2) for op in (intent(seq), committed(seq), point(seq))),
    *(intent(3), committed(3), evicted(3, 3, 4)),  # went to make room, and that was said
    *(intent(5, poison=True), committed(5), letter(5), named("refused", 5)),
    *(intent(6), committed(6), named("waiting", 6)),
    intent(7),  # killed before it knew: not there
    *(intent(8), point(8, received_ms=T_US // 1000 + 200)),  # killed before it knew: there
    {"op": "counted", "agent": "nd-unit", "spool": SPOOL, "last_seq": 1},
    point(1, {"agent": "nd-unit"}, error_detail="of no feeder"),
    named("acked", 1, 2),
    *(archived(seq) for seq in (1, 2, 8)),
    *(named("acked", 8, at_ms=T_US // 1000 + ms) for ms in (900, 300)),
    read_after_kill([1], [1, 2]),
    *({"op": "published", "agent": "nd-a", "spool": SPOOL, "seq": seq} for seq in (1, 1, 2)),
    {"op": "sample", "name": "nd-a", "spool_bytes": 900, "rss_bytes": 1},
    {"op": "forged", "token": token(99)},
    {"op": "healed", "at_s": 100.0},
    {"op": "drained", "at_s": 130.0},
]

RECEIVED_AGAIN = point(8, received_ms=T_US // 1000 + 301)

LIES: dict[str, tuple[str, list[Op], list[Op]]] = {
    # name: invariant, what is taken out of the good history, what is put in
    "a result that is nowhere": ("I1", [point(2), named("acked", 1, 2)], [named("acked", 1)]),
    "an eviction without a word": ("I1", [evicted(3, 3, 4)], []),
    "a result of the counted unit that is nowhere": (
        "I1",
        [{"op": "counted", "agent": "nd-unit", "spool": SPOOL, "last_seq": 1}],
        [{"op": "counted", "agent": "nd-unit", "spool": SPOOL, "last_seq": 2}],
    ),
    "a point that nobody committed": ("I2", [], [point(50)]),
    "an event of a made-up name": (
        "I2",
        [],
        [evicted(9, 9, 60) | {"fields": {"spool": SPOOL, "seq": 60, "name": "x"}}],
    ),
    "the same result at two times": ("I3", [], [point(2, time_ns=(T_US + 3) * 1000)]),
    "the same result under two tags": ("I3", [], [point(2, {"hamlet": "Tổ 7"})]),
    "an intent that is there under two numbers": ("I3", [], [point(9, error_detail=token(8))]),
    "another value": ("I4", [point(2)], [point(2, loss_percent=5.0000001)]),
    "a text with a letter less": ("I4", [point(2)], [point(2, error_detail=token(2) + ' "x')]),
    "a field that is missing": ("I4", [point(2)], [point(2, method=None)]),
    "a field too many": ("I4", [point(2)], [point(2, rtt_p50_ms=0.0)]),
    "a truth for a one": ("I4", [point(2)], [point(2, loss_percent=True)]),
    "another line": ("I4", [point(2)], [point(2, {"line": "4g"})]),
    "another microsecond": ("I4", [point(2)], [point(2, time_ns=(T_US + 3) * 1000)]),
    "an ack that a kill of the database undoes": ("I5", [read_after_kill([1], [1, 2])], [read_after_kill([1, 2], [1])]),
    "an ack of what is not stored": ("I5", [], [named("acked", 6)]),
    "a rejection that is in no file": ("I6", [letter(5)], [named("waiting", 5)]),
    "a good result rejected": ("I6", [], [letter(1)]),
    "a bad result stored": ("I6", [], [point(5)]),
    "spools that never drain": ("I7", [{"op": "drained", "at_s": 130.0}], []),
    "spools that drain too late": ("I7", [{"op": "drained", "at_s": 130.0}], [{"op": "drained", "at_s": 161.0}]),
    "a spool over its bound": ("I8", [], [{"op": "sample", "name": "nd-a", "spool_bytes": 1001}]),
    "a collector that grows": ("I8", [], [{"op": "sample", "name": "collector", "rss_bytes": 10**8 + 1}]),
    "results sent again and again": ("I8", [], [{"op": "published", "agent": "nd-a", "spool": SPOOL, "seq": 2}] * 3),
    "a forgery stored": ("I9", [], [point(99)]),
    "a result under another's name": ("I9", [point(2)], [point(2, {"agent": "nd-b"})]),
    "a receipt that moved after the first ack": ("I11", [point(8, received_ms=T_US // 1000 + 200)], [RECEIVED_AGAIN]),
    "a receipt that is gone": ("I11", [point(8, received_ms=T_US // 1000 + 200)], [point(8)]),
    "an honest result that is named late": ("I11", [point(2)], [point(2, late=True)]),
    "a time off by more than the clock allows": (
        "I10",
        [intent(2), point(2)],
        [intent(2, at_us=None), point(2, time_ns=T_US * 1000 + 2_100_000_000, clock="rebased")],
    ),
    "an estimate off by more than it says": (
        "I10",
        [intent(2), point(2)],
        [intent(2, at_us=None), point(2, time_ns=T_US * 1000 + 70 * 10**9, clock="estimated", at_error_s=60.0)],
    ),
    "an ack of what is not archived": ("I12", [archived(2)], []),
    "a message archived twice": ("I12", [], [archived(2)]),
    "another message archived": ("I12", [archived(2)], [archived(2, of=1)]),
    "an archived message that is not stored": ("I12", [], [archived(6)]),
    "damage of the archive": ("I12", [], [{"op": "archived", "damaged": "2026-11-30.day: damaged"}]),
}


def test_a_good_history_has_no_violation() -> None:
    report = check(GOOD)
    assert not report.violations
    assert report.counts["committed"] == 6
    assert (report.counts["evicted"], report.counts["rejected"], report.counts["unknown"]) == (1, 1, 2)


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_found(lie: str) -> None:
    invariant, out, in_ = LIES[lie]
    assert all(op in GOOD for op in out), "the good history has changed"
    report = check([op for op in GOOD if op not in out] + in_)
    assert invariant in report.broken, report.violations


def test_a_lie_is_told_for_every_invariant() -> None:
    assert {invariant for invariant, _, _ in LIES.values()} == set(INVARIANTS)


def test_an_estimate_within_what_it_says_is_true() -> None:
    good = [op for op in GOOD if op not in (intent(2), point(2))]
    late = point(2, time_ns=T_US * 1000 + 50 * 10**9, clock="estimated", at_error_s=60.0)
    assert not check([*good, intent(2, at_us=None), late]).violations


def test_the_order_of_a_history_means_nothing() -> None:
    assert check(GOOD[::-1]).counts == check(GOOD).counts


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(json.dumps(intent(1)) + "\n" + json.dumps(intent(2))[:40] + "\n" + json.dumps(committed(1)) + "\n")
    assert [op["op"] for op in read([file])] == ["intent", "committed"]


def test_alone_it_says_what_it_found(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(json.dumps(op) + "\n" for op in [*GOOD, point(50)]))
    argv = [sys.executable, str(Path(checker.__file__)), str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "I2 nd-a/0198c0de/50 is stored and nobody committed it" in done.stdout


def test_it_imports_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(checker.__file__).read_text(encoding="utf-8"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules <= {"json", "re", "sys", "collections", "collections.abc", "pathlib", "typing"}
