"""How fast a unit may send. A message that comes too fast is let go of unread: a unit sends its results again later.

Each unit has a token bucket for each channel, so that a flood of one takes nothing from the others. A large message
costs more than a small one, so that the bucket bounds bytes too.
"""

from collections import OrderedDict, deque
from typing import NamedTuple

from xomnet.contract.topics import Channel
from xomnet.runtime.log import Log

log = Log("collector.ingest.rate_limit")

BURST_S = 20.0
"""Results of as many seconds may come at once."""
TOKEN_BYTES = 4_096
"""A message costs a token, and another one for each of these."""
MAX_BUCKETS = 20_000
FLOOD, FLOOD_S = 50_000, 3_600.0
"""More messages than this, too fast within this time, are no backlog: an honest unit waits before it sends again."""


class Rate(NamedTuple):
    per_s: float
    burst: float
    max_bytes: int


REPLIES = Rate(1.0, 60.0, 65_536)
STATES = Rate(0.2, 60.0, 4_096)
"""A unit that comes and goes sends two with each connection."""


class _Bucket:
    __slots__ = ("at", "counted_from", "dropped", "tokens")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens, self.at = tokens, now
        self.dropped, self.counted_from = 0, now


class RateLimiter:
    """For one thread; `floods` are the units that flood, for any. `now` is time.monotonic()."""

    def __init__(self, results_per_s: float) -> None:
        results = Rate(results_per_s, results_per_s * BURST_S, 2**30)
        self._rates: dict[str, Rate] = {"up": results, "state": STATES, "reply": REPLIES}
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self.floods: deque[str] = deque(maxlen=MAX_BUCKETS)

    def admits(self, agent: str, channel: Channel, size: int, now: float) -> bool:
        """Whether a message of `size` bytes is to be read."""
        rate = self._rates[channel]
        bucket = self._bucket(agent, channel, rate, now)
        bucket.tokens = min(rate.burst, bucket.tokens + (now - bucket.at) * rate.per_s)
        bucket.at = now
        cost = 1 + size // TOKEN_BYTES
        if bucket.tokens >= min(cost, rate.burst) and size <= rate.max_bytes:
            bucket.tokens -= cost
            return True
        if now - bucket.counted_from >= FLOOD_S:
            bucket.dropped, bucket.counted_from = 0, now
        bucket.dropped += 1
        if bucket.dropped == 1:
            log.warning("too fast or too large, left unanswered", agent=agent, channel=channel)
        elif bucket.dropped == FLOOD:
            self.floods.append(agent)
        return False

    def _bucket(self, agent: str, channel: Channel, rate: Rate, now: float) -> _Bucket:
        key = agent, channel
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(rate.burst, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket
