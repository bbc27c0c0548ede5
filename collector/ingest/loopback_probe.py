"""Does the broker let the collector speak and hear? It sends itself a message the way results come, and listens.

A broker grants a subscription also where its rules let nothing through: with a certificate of another name the
collector would be connected, well, and deaf. Only `collector` may write under that name and read what all write.
"""

import time

from xomnet.contract.topics import topic
from xomnet.registry.cells import BROKER_NAME_OF_COLLECTOR

TOPIC = topic(BROKER_NAME_OF_COLLECTOR, "up")
"""No unit has this name: the registry refuses it."""
PAYLOAD = b"{}"
ADVICE = f"is the certificate's name `{BROKER_NAME_OF_COLLECTOR}`, and are the broker's rules those of the guide?"


class LoopbackProbe:
    """Bookkeeping of one process; the network thread writes, any thread asks for `trouble`.

    A message goes every `every_s`. `limit_s` without any is too long, unless the broker has to wait for us.
    """

    def __init__(self, every_s: float = 30.0) -> None:
        self._every_s, self.limit_s = every_s, 3 * every_s
        self._next_at = self._silent_since = 0.0
        self._mid: int | None = None
        self._refused: str | None = None
        self._heard = False

    def on_connected(self) -> None:
        """A new connection: nothing is known of it."""
        self._next_at, self._silent_since = 0.0, time.monotonic()
        self._mid, self._heard = None, False

    def due(self) -> bool:
        """True where a message is to go now; sooner again while nothing was heard, as the subscription may be later."""
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + (self._every_s if self._heard else self._every_s / 6)
        return True

    def on_sent(self, mid: int) -> None:
        self._mid = mid

    def on_puback(self, mid: int, reason: str | None) -> None:
        """The broker's PUBACK; `reason` where it refuses or nobody is subscribed."""
        if mid == self._mid:
            self._refused = reason

    def on_received(self) -> None:
        """A message came in, of whomever; or the broker waits for us, and may be silent."""
        self._heard, self._silent_since = True, time.monotonic()

    @property
    def too_long(self) -> bool:
        return time.monotonic() - self._silent_since > self.limit_s

    def trouble(self) -> str | None:
        """What is wrong, in a sentence; None where the broker answers."""
        if self._refused is not None:
            return f"our own message was refused ({self._refused}): {ADVICE}"
        if not self._heard or self.too_long:
            return f"no answer to our own message: {ADVICE}"
        return None
