"""How many requests are being answered at the same time."""

import threading

from measurement_server.limits import ServerLimits


class RequestSlots:
    """At most `limits.requests`, of one source or unit `requests_each`.

    With permissions, strangers have half of them.
    """

    def __init__(self, limits: ServerLimits, has_permissions: bool) -> None:
        self._limits, self._has_permissions = limits, has_permissions
        self._taken: dict[tuple[bool, str], int] = {}
        self._lock = threading.Lock()

    def enter(self, source: str, unit: str | None) -> bool:
        """Takes a slot; False if there is none."""
        key = (unit is not None, unit or source)
        most = self._limits.requests // 2 if self._has_permissions else self._limits.requests
        with self._lock:
            if sum(count for (permitted, _), count in self._taken.items() if permitted == key[0]) >= most:
                return False
            if self._taken.get(key, 0) >= self._limits.requests_each:
                return False
            self._taken[key] = self._taken.get(key, 0) + 1
            return True

    def leave(self, source: str, unit: str | None) -> None:
        """Gives a slot back."""
        key = (unit is not None, unit or source)
        with self._lock:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
