"""Reading a line's rows from the latest back, a bounded number at a time."""

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar


class Dated(Protocol):
    @property
    def at(self) -> dt.datetime: ...


T = TypeVar("T", bound=Dated)

PAGE_ROWS = 5_000
TICK = dt.timedelta(microseconds=1)


def pages_back(
    read: Callable[[dt.datetime, dt.datetime, int], Sequence[T]],
    since: dt.datetime,
    until: dt.datetime,
    size: int = PAGE_ROWS,
) -> Iterator[Sequence[T]]:
    """What `read` gives of [since, until), its latest `size` at a time; each page is in the order of time. What is of
    one instant is never parted.
    """
    while rows := read(since, until, size):
        first = rows[0].at
        if len(rows) < size:
            yield rows
            until = first
        elif later := [row for row in rows if row.at > first]:
            yield later
            until = first + TICK
        else:
            size *= 2
