"""Throttle on wrong tokens: the operator's token and those of enrolment."""

MAX_WRONG, WRONG_FOR_S, MAX_HOSTS = 10, 60.0, 1_000


class TokenThrottle:
    """Counts wrong tokens by host. A host with ten wrong tokens within a minute has to wait."""

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = {}

    def wait_s(self, host: str, now: float) -> float:
        """How long the host is to wait; 0 where it may try."""
        times = [at for at in self._seen.get(host, ()) if now - at < WRONG_FOR_S]
        return WRONG_FOR_S - (now - times[0]) if len(times) >= MAX_WRONG else 0.0

    def note(self, host: str, now: float) -> None:
        times = [at for at in self._seen.pop(host, ()) if now - at < WRONG_FOR_S]
        self._seen[host] = [*times[-MAX_WRONG + 1 :], now]
        while len(self._seen) > MAX_HOSTS:
            del self._seen[next(iter(self._seen))]
