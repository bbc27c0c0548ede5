"""Was anything lost? A judge that knows only histories: it imports nothing of xomnet and nothing of the harness.

    python -m tests.chaos.checker HISTORY.jsonl…

A history is JSON lines, each an observation by one who saw it; the order of lines and of files means nothing.
A result is named (agent, spool, seq). Every committed one also carries a token, a text that exists once in the world.

| op | says |
|---|---|
| `limits` | `drain_s`, `clock_error_s`, and where bounded: `spool_bytes`, `rss_bytes` (by name), `sends` (per result) |
| `intent` | before a commit: `token, agent, line, kind, fields, true_us`; `at_us` where the clock was right; `poison` |
| `committed` | after it: `token, spool, seq`. An intent without it (killed in between) may have happened or not |
| `counted` | a unit that tells no intents has committed the numbers 1 to `last_seq` of `spool` |
| `acked`, `refused` | on the wire: `agent, spool, seqs`; `at_ms`, where known: the server's time in the ack |
| `published` | on the wire: `agent, spool, seq` |
| `forged` | somebody said `token` under another's name |
| `read` | the database was killed at once after these were acked, and started: `asked` ids, `found` ids |
| `healed`, `drained` | `at_s`: all faults ended; all spools were empty |
| `waiting` | in a spool at the end: `agent, spool, seqs` |
| `sample` | `name` has `rss_bytes` or `spool_bytes` |
| `point` | in the database at the end: `measurement, time_ns, tags, fields` |
| `letter` | in the dead-letter file at the end: `agent, spool, seq, code` |
| `archived` | in the archive at the end, its days sealed: `agent, spool, seq, token`; or what is `damaged` |
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Op = dict[str, Any]
Id = tuple[str, str, int]

INVARIANTS = {
    "I1": "no loss: a committed result is stored, or reported as rejected or evicted, or still in its spool",
    "I2": "no phantom: what is stored was committed",
    "I3": "no duplicate: a result is one point",
    "I4": "equal: what is stored is what was committed, time included",
    "I5": "an ack is sound: an acked result is there, also after an immediate kill of the database",
    "I6": "reported: whatever was refused is in the dead letters, and only what was wrong is refused",
    "I7": "live: once all faults have ended, the spools drain in bounded time",
    "I8": "bounded: spool, memory, sends",
    "I9": "isolated: nothing is stored under another's name",
    "I10": "timed: a stored time is within its bounds of the true one",
    "I11": "received: a result keeps the receipt that it had at its first ack, and no honest one is named late",
    "I12": "archived: an acked result is in the archive, once, as it was committed; what is there is stored",
}

OWN_FIELDS = {"spool", "seq", "clock", "at_error_s", "received_ms", "late"}
"""What the envelope and its receipt add to the fields of a result."""

OWN_NOTES = {"evicted", "manifest", "started", "spool_reset", "spool_cloned", "ledger_reset"} | {
    *("settings_refused", "budget_spent", "session_taken_over")
}
"""Events that a unit commits about itself, so that no intent announces them."""

TOKEN = re.compile(r"tok-[0-9a-f]{32}")


class Violation(NamedTuple):
    invariant: str
    text: str


class Report(NamedTuple):
    violations: list[Violation]
    counts: dict[str, int]

    @property
    def broken(self) -> set[str]:
        return {violation.invariant for violation in self.violations}


class Found(NamedTuple):
    """A point of the database, and the result that it says it is."""

    id: Id
    measurement: str
    time_ns: int
    tags: dict[str, str]
    fields: dict[str, Any]

    @property
    def token(self) -> str | None:
        """The token in its texts."""
        texts = (value for value in self.fields.values() if isinstance(value, str))
        return next((match[0] for text in texts if (match := TOKEN.search(text))), None)


class World:
    """The histories, indexed."""

    def __init__(self, history: Iterable[Op]) -> None:
        self.ops: defaultdict[str, list[Op]] = defaultdict(list)
        for op in history:
            self.ops[op["op"]].append(op)
        self.limits: Op = {"drain_s": 120.0, "clock_error_s": 2.0}
        for op in self.ops["limits"]:
            self.limits |= op
        self.intents = {op["token"]: op for op in self.ops["intent"]}
        self.committed: dict[Id, Op] = {}
        self.committed_tokens: dict[str, Id] = {}
        for op in self.ops["committed"]:
            intent = self.intents[op["token"]]
            id_ = (intent["agent"], op["spool"], op["seq"])
            self.committed[id_] = intent
            self.committed_tokens[op["token"]] = id_
        self.counted = {(op["agent"], op["spool"]): op["last_seq"] for op in self.ops["counted"]}
        self.points = [_found(op) for op in self.ops["point"]]
        self.stored: defaultdict[Id, list[Found]] = defaultdict(list)
        for point in self.points:
            self.stored[point.id].append(point)
        self.letters = {(op["agent"], op["spool"], op["seq"]) for op in self.ops["letter"]}
        self.waiting = set(_named(self.ops["waiting"]))
        self.evicted: set[Id] = set()
        for point in self.points:
            if point.measurement == "event" and point.fields.get("name") == "evicted" and point.token is None:
                agent, spool, _ = point.id
                first, last = int(point.fields["first_seq"]), int(point.fields["last_seq"])
                self.evicted.update((agent, spool, seq) for seq in range(first, last + 1))

    def promised(self) -> Iterator[Id]:
        yield from self.committed
        for (agent, spool), last in self.counted.items():
            yield from ((agent, spool, seq) for seq in range(1, last + 1))


def check(history: Iterable[Op]) -> Report:
    """All violations of all invariants, and how much was looked at."""
    world = World(history)
    checks = (
        *(lost, phantoms, doubled, altered, unsound_acks, unreported, stuck, unbounded, misattributed, mistimed),
        *(moved, unarchived),
    )
    violations = [violation for one in checks for violation in one(world)]
    sends = Counter((op["agent"], op["spool"], op["seq"]) for op in world.ops["published"])
    counts = {
        "committed": sum(1 for _ in world.promised()),
        "stored": len(world.stored),
        "stored_of_committed": sum(id_ in world.stored for id_ in world.promised()),
        "rejected": len(world.letters & set(world.committed)),
        "evicted": len((world.evicted & set(world.committed)) - set(world.stored)),
        "unknown": len(world.intents) - len(world.committed_tokens),
        "waiting": len(world.waiting),
        "acked": len(set(_named(world.ops["acked"]))),
        "archived": len(world.ops["archived"]),
        "read_after_kill": sum(len(op["asked"]) for op in world.ops["read"]),
        "published": sum(sends.values()),
        "forged": len(world.ops["forged"]),
        **{name: sum(v.invariant == i for v in violations) for name, i in SUMMARY.items()},
    }
    return Report(violations, counts)


SUMMARY = {"lost": "I1", "invented": "I2", "doubled": "I3", "altered": "I4"}


def lost(world: World) -> Iterator[Violation]:
    for id_ in world.promised():
        if not (id_ in world.stored or id_ in world.letters or id_ in world.evicted or id_ in world.waiting):
            yield Violation("I1", f"{_said(id_)} was committed and is nowhere")


def phantoms(world: World) -> Iterator[Violation]:
    for point in world.points:
        agent, spool, seq = point.id
        known = (
            point.id in world.committed
            or point.token in world.intents
            or seq <= world.counted.get((agent, spool), 0)
            or (point.measurement == "event" and point.token is None and point.fields.get("name") in OWN_NOTES)
        )
        if not known:
            yield Violation("I2", f"{_said(point.id)} is stored and nobody committed it")


def doubled(world: World) -> Iterator[Violation]:
    tokens: defaultdict[str | None, set[Id]] = defaultdict(set)
    for id_, points in world.stored.items():
        if len(points) > 1:
            where = " and ".join(f"{p.measurement} {p.time_ns} {sorted(p.tags.items())}" for p in points)
            yield Violation("I3", f"{_said(id_)} is {len(points)} points: {where}")
        tokens[points[0].token].add(id_)
    for token, ids in tokens.items():
        if token is not None and len(ids) > 1:
            yield Violation("I3", f"{token} is stored as {' and '.join(_said(one) for one in sorted(ids))}")


def altered(world: World) -> Iterator[Violation]:
    for point in world.points:
        intent = world.committed.get(point.id) or world.intents.get(point.token or "")
        if intent is None:
            continue
        if point.measurement != intent["kind"] or point.tags.get("line") != intent["line"]:
            yield Violation("I4", f"{_said(point.id)} is a {point.measurement} of line {point.tags.get('line')}")
        stored = {name: value for name, value in point.fields.items() if name not in OWN_FIELDS}
        for name in sorted(stored.keys() | intent["fields"].keys()):
            was, is_ = _plain(intent["fields"].get(name)), _plain(stored.get(name))
            if was != is_:
                yield Violation("I4", f"{_said(point.id)}: {name} was {was}, is {is_}")
        if intent["at_us"] is not None and point.time_ns // 1000 != intent["at_us"]:
            yield Violation("I4", f"{_said(point.id)}: time was {intent['at_us']} us, is {point.time_ns // 1000} us")


def unsound_acks(world: World) -> Iterator[Violation]:
    for op in world.ops["read"]:
        missing = {tuple(one) for one in op["asked"]} - {tuple(one) for one in op["found"]}
        for id_ in sorted(missing):
            yield Violation("I5", f"{_said(id_)} was acked, the database killed, and it is not there")
    for id_ in sorted(set(_named(world.ops["acked"]))):
        if id_ not in world.stored:
            yield Violation("I5", f"{_said(id_)} was acked and is not stored")


def unreported(world: World) -> Iterator[Violation]:
    for id_ in sorted(set(_named(world.ops["refused"])) - world.letters):
        yield Violation("I6", f"{_said(id_)} was refused and is not in the dead letters")
    for id_, intent in world.committed.items():
        if not intent["poison"] and id_ in world.letters:
            yield Violation("I6", f"{_said(id_)} was rejected, though nothing was wrong with it")
        if intent["poison"] and id_ in world.stored:
            yield Violation("I6", f"{_said(id_)} was stored, though it should have been rejected")


def stuck(world: World) -> Iterator[Violation]:
    healed = [op["at_s"] for op in world.ops["healed"]]
    drained = [op["at_s"] for op in world.ops["drained"]]
    if healed and not drained:
        yield Violation("I7", f"the spools did not drain; {len(world.waiting)} results wait")
    elif healed and max(drained) - max(healed) > world.limits["drain_s"]:
        took_s = max(drained) - max(healed)
        yield Violation("I7", f"the spools drained in {took_s:.1f} s, allowed {world.limits['drain_s']} s")


def unbounded(world: World) -> Iterator[Violation]:
    for what in ("spool_bytes", "rss_bytes"):
        bounds = world.limits.get(what, {})
        highest: dict[str, int] = {}
        for op in world.ops["sample"]:
            if what in op:
                highest[op["name"]] = max(op[what], highest.get(op["name"], 0))
        for name, value in highest.items():
            if value > bounds.get(name, value):
                yield Violation("I8", f"{what} of {name} was {value}, allowed {bounds[name]}")
    sends = Counter((op["agent"], op["spool"], op["seq"]) for op in world.ops["published"])
    if "sends" in world.limits and sends and sum(sends.values()) / len(sends) > world.limits["sends"]:
        mean = sum(sends.values()) / len(sends)
        yield Violation("I8", f"a result was sent {mean:.2f} times on average, allowed {world.limits['sends']}")


def misattributed(world: World) -> Iterator[Violation]:
    forged = {op["token"] for op in world.ops["forged"]}
    for point in world.points:
        intent = world.intents.get(point.token or "")
        if point.token in forged:
            yield Violation("I9", f"{_said(point.id)} is a forgery")
        if intent is not None and intent["agent"] != point.tags.get("agent"):
            yield Violation("I9", f"{_said(point.id)} is stored under another name than its sender's")


def mistimed(world: World) -> Iterator[Violation]:
    for point in world.points:
        intent = world.intents.get(point.token or "")
        if intent is None:
            continue
        allowed_s = world.limits["clock_error_s"]
        if point.fields.get("clock") == "estimated":
            allowed_s += point.fields["at_error_s"]
        error_s = abs(point.time_ns / 1e9 - intent["true_us"] / 1e6)
        if error_s > allowed_s:
            clock = point.fields.get("clock")
            yield Violation("I10", f"{_said(point.id)} ({clock}) is off by {error_s:.3f} s, allowed {allowed_s} s")


def moved(world: World) -> Iterator[Violation]:
    first_acks: dict[Id, int] = {}
    for op in world.ops["acked"]:
        for id_ in _named([op]) if "at_ms" in op else ():
            first_acks[id_] = min(op["at_ms"], first_acks.get(id_, op["at_ms"]))
    for point in world.points:
        if point.id in first_acks and not point.fields.get("received_ms", 2**63) <= first_acks[point.id]:
            received, acked = point.fields.get("received_ms"), first_acks[point.id]
            yield Violation("I11", f"{_said(point.id)} was acked at {acked} ms and is received at {received} ms")
        if point.fields.get("late"):
            yield Violation("I11", f"{_said(point.id)} is named late")


def unarchived(world: World) -> Iterator[Violation]:
    archived: Counter[Id] = Counter()
    for op in world.ops["archived"]:
        if op["damaged"]:
            yield Violation("I12", op["damaged"])
            continue
        id_ = (op["agent"], op["spool"], op["seq"])
        archived[id_] += 1
        intent = world.committed.get(id_)
        if intent is not None and intent["token"] != op["token"]:
            yield Violation("I12", f"{_said(id_)} was committed as {intent['token']} and is archived as {op['token']}")
        if id_ not in world.stored:
            yield Violation("I12", f"{_said(id_)} is archived and not stored")
    for id_, times in archived.items():
        if times > 1:
            yield Violation("I12", f"{_said(id_)} is archived {times} times")
    for id_ in sorted(set(_named(world.ops["acked"])) - archived.keys()):
        yield Violation("I12", f"{_said(id_)} was acked and is not archived")


def read(files: Iterable[Path]) -> Iterator[Op]:
    """The lines of history files. A line torn by the death of its writer is left out."""
    for file in files:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def _found(op: Op) -> Found:
    fields = op["fields"]
    id_ = (op["tags"].get("agent", ""), fields.get("spool", ""), int(fields.get("seq", 0)))
    return Found(id_, op["measurement"], op["time_ns"], op["tags"], fields)


def _named(ops: Iterable[Op]) -> Iterator[Id]:
    for op in ops:
        yield from ((op["agent"], op["spool"], seq) for seq in op["seqs"])


def _plain(value: Any) -> str:
    """One way to write a value: JSON, where 5 is 5.0 and a list is what a text column makes of it."""
    if isinstance(value, list):
        return _plain(",".join(value) if all(isinstance(one, str) for one in value) else _list(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return json.dumps(value, ensure_ascii=False)


def _list(value: list[Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _said(id_: Id) -> str:
    agent, spool, seq = id_
    return f"{agent}/{spool[:8]}/{seq}"


def main() -> int:
    """Prints counts and violations; exit status 1 where there is one."""
    report = check(read(Path(name) for name in sys.argv[1:]))
    print(json.dumps(report.counts))
    for violation in report.violations[:200]:
        print(f"{violation.invariant} {violation.text}")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
