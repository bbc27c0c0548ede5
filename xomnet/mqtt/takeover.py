"""Two clients with one id: the broker throws out one when the other comes. How that is noticed, and not fought over.

Mosquitto says so from 2.0.15 on (0x8E). An older one only closes the connection: then it is a rival when a broker that
lives has closed several connections, one after the other, seconds after they were made.
"""

import random
import socket

TAKEN_OVER = 0x8E
CUTS, SHORT_S = 6, 5.0
"""So many connections in a row that lasted no longer make a rival of whoever ends them."""
QUICK, FIRST_S, LAST_S = 2, 15.0, 120.0
"""After a few quick turns more, in which the other one notices too, the pause doubles from the first to the last: each
of the two has its minutes to deliver in.
"""


class TakeoverDetector:
    """What the ends of our connections tell of a rival."""

    def __init__(self) -> None:
        self._cuts = 0
        self._takeovers = 0

    @property
    def window_s(self) -> float:
        """A connection that lasted longer was ended by something else, or the rival had long been gone."""
        return SHORT_S + 2 * self._longest_s() if self._takeovers else SHORT_S

    def ended(self, lasted_s: float, said: bool, cut: bool) -> bool:
        """True where a rival ended a connection: the broker `said` so, or it lives and has `cut` us off again."""
        if lasted_s > self.window_s:
            self._cuts = self._takeovers = 0
        elif cut:
            self._cuts += 1
        else:
            self._cuts = 0
        if said or (cut and (self._takeovers or self._cuts >= CUTS)):
            self._takeovers += 1
            return True
        return False

    def pause_s(self) -> float:
        """How long to leave the field to it: at random, so that two that began together drift apart."""
        longest = self._longest_s()
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _longest_s(self) -> float:
        turn = self._takeovers - QUICK - 1
        return 1.0 if turn < 0 else min(LAST_S, FIRST_S * 2 ** min(turn, 10))


def lives(host: str, port: int) -> bool:
    """True where somebody listens there, now."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
