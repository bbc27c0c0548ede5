"""Results that were archived lately: those that come again are there already, in whatever words they come.

The quota doesn't count a resend, so the archive must not grow by it: a thief may send one result for ever, with another
text each time. Known are those that the quota knows as counted, by the same sign.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from collector.ingest.quota import MAX_AGENTS, RECENT
from collector.ingest.validate import Accepted

M = TypeVar("M")

Archivable = dict[tuple[str, int], tuple[M, Accepted]]


class Repeats:
    """`digest_of` is the quota's."""

    def __init__(self, digest_of: Callable[[Accepted], int]) -> None:
        self._digest_of = digest_of
        self._recent: OrderedDict[str, deque[int]] = OrderedDict()

    def without(self, stored: Iterable[tuple[M, Accepted]]) -> Archivable[M]:
        """Messages of results that are not known, of each result the first."""
        found: Archivable[M] = {}
        for message, one in stored:
            key = one.id.agent, self._digest_of(one)
            if key[1] not in self._recent.get(key[0], ()):
                found.setdefault(key, (message, one))
        return found

    def remember(self, archived: Iterable[tuple[str, int]]) -> None:
        for agent, digest in archived:
            self._recent.setdefault(agent, deque(maxlen=RECENT)).append(digest)
            self._recent.move_to_end(agent)
            if len(self._recent) > MAX_AGENTS:
                self._recent.popitem(last=False)
