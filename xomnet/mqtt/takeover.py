"""Session takeover: a second client connects with our id, and the broker closes our connection.

Mosquitto says so from 2.0.15 on (0x8E). An older broker only closes the connection: then it is a takeover if a broker
that listens has closed several connections in a row, each within seconds. Both clients then stay away for a while, so
that each gets time to deliver.
"""

import random
import socket

TAKEN_OVER = 0x8E
MIN_CUTS, SHORT_CONNECTION_S = 6, 5.0
"""Without the broker's word it is a takeover after this many connections in a row that lasted no longer than this."""
QUICK_TURNS, MIN_PAUSE_S, MAX_PAUSE_S = 2, 15.0, 120.0
"""The pause stays at a second for a few turns more, in which the other client notices too. Then it doubles from the
first bound to the last.
"""


class TakeoverDetector:
    """Tells from the ends of our connections whether another client uses our id."""

    def __init__(self) -> None:
        self._cuts = 0
        self._takeovers = 0

    @property
    def window_s(self) -> float:
        """A connection that lasted longer was ended by something else, or the other client had long been gone."""
        return SHORT_CONNECTION_S + 2 * self._max_pause_s() if self._takeovers else SHORT_CONNECTION_S

    def connection_ended(self, lasted_s: float, taken_over: bool, cut_off: bool) -> bool:
        """True if another client ended a connection that lasted `lasted_s`.

        `taken_over`: the broker said so. `cut_off`: it closed the connection within `window_s`, and it listens.
        """
        if lasted_s > self.window_s:
            self._cuts = self._takeovers = 0
        elif cut_off:
            self._cuts += 1
        else:
            self._cuts = 0
        if taken_over or (cut_off and (self._takeovers or self._cuts >= MIN_CUTS)):
            self._takeovers += 1
            return True
        return False

    def pause_s(self) -> float:
        """Seconds to stay away: at random, so that two clients that began together drift apart."""
        longest = self._max_pause_s()
        return random.uniform(longest / 2, longest)  # noqa: S311

    def _max_pause_s(self) -> float:
        turn = self._takeovers - QUICK_TURNS - 1
        return 1.0 if turn < 0 else min(MAX_PAUSE_S, MIN_PAUSE_S * 2 ** min(turn, 10))


def is_listening(host: str, port: int) -> bool:
    """True if somebody listens there now."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
