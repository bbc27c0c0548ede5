"""Our processes with a bug each, so that the checker can be seen to find it.

python -m tests.chaos.buggy BUG feeder|collector ARGUMENTS…
"""

import datetime as dt
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def ack_before_store() -> None:
    """The collector says that it has stored what it is about to store."""
    from collector.ingest.intake import Intake
    from collector.ingest.validate import Accepted, validate

    handle = Intake._handle

    def eager(self: Intake, batch: list[Any]) -> None:
        now = dt.datetime.now(dt.UTC)
        verdicts = [validate(message.topic, message.payload, self._registry(), now) for message in batch]
        self._answer([], [one.id for one in verdicts if isinstance(one, Accepted)], [])
        handle(self, batch)

    Intake._handle = eager  # type: ignore[method-assign]


def puback_is_stored() -> None:
    """The unit deletes what the broker has acknowledged."""
    from agent.delivery.uplink import Uplink

    published = Uplink.on_published

    def forgetful(self: Uplink, connection: Any, mid: int, reason: str | None) -> None:
        seq = self._mids.get(mid)
        published(self, connection, mid, reason)
        if seq is not None:
            self._spool.remove_acked([seq])

    Uplink.on_published = forgetful  # type: ignore[method-assign]


def fresh_timestamp() -> None:
    """The unit gives a result a new time whenever it resends it."""
    from agent.delivery.spool import Spool

    payload: Callable[..., bytes | None] = Spool._payload
    sent: set[int] = set()

    def restamped(self: Spool, row: Any, *args: Any) -> bytes | None:
        body = payload(self, row, *args)
        if body is None or row["seq"] not in sent:
            sent.add(row["seq"])
            return body
        return json.dumps(json.loads(body) | {"at": dt.datetime.now(dt.UTC).isoformat()}).encode()

    setattr(Spool, "_payload", restamped)  # noqa: B010


def mutable_tag() -> None:
    """The collector tags a result with something that is not the same at the next send, and takes it for a new one."""
    import collector.store.points as points
    from collector.store.influx_places import LatestTimes

    tags_of: Callable[..., dict[str, str]] = points.tags_of

    def tagged(*args: Any) -> dict[str, str]:
        return tags_of(*args) | {"hamlet": f"Xóm {os.getpid()}"}

    setattr(points, "tags_of", tagged)  # noqa: B010
    LatestTimes.is_new = lambda *_: True  # type: ignore[method-assign]


def clean_start() -> None:
    """The collector's session at the broker ends with its connection, and what was queued for it with the session."""
    from xomnet.mqtt.link import Link

    begin = Link.__init__

    def forgetful(self: Link, *args: Any, **more: Any) -> None:
        begin(self, *args, **more | {"persistent": False})

    Link.__init__ = forgetful  # type: ignore[method-assign]


def silent_eviction() -> None:
    """The unit makes room without a word."""
    from agent.delivery.spool import Spool

    make_room: Callable[..., int] = Spool._make_room

    def silent(self: Spool, *args: Any) -> int:
        freed = make_room(self, *args)
        if freed:
            self._db.execute("DELETE FROM results WHERE seq = (SELECT max(seq) FROM results)")
        return freed

    setattr(Spool, "_make_room", silent)  # noqa: B010


def forgetful_archive() -> None:
    """The collector's archive takes every second batch and nothing of the others."""
    from itertools import count

    from collector.archive import Archive

    append, calls = Archive.append, count()

    def forgetful(self: Archive, records: Any) -> None:
        if next(calls) % 2:
            append(self, records)

    Archive.append = forgetful  # type: ignore[method-assign]


def moving_receipt() -> None:
    """The collector takes every result for a new one."""
    from collector.store.influx_places import LatestTimes

    LatestTimes.is_new = lambda *_: True  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    "ack_before_store": ack_before_store,
    "puback_is_stored": puback_is_stored,
    "fresh_timestamp": fresh_timestamp,
    "mutable_tag": mutable_tag,
    "clean_start": clean_start,
    "silent_eviction": silent_eviction,
    "forgetful_archive": forgetful_archive,
    "moving_receipt": moving_receipt,
}


def main() -> int:
    bug, which, *arguments = sys.argv[1:]
    BUGS[bug]()
    if which == "feeder":
        from tests.chaos import feeder

        feeder.main(*arguments)
        return 0
    from collector.run import main as collect

    sys.argv = ["collector", *arguments]
    return collect()


if __name__ == "__main__":
    sys.exit(main())
