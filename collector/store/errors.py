"""What keeps a store from answering."""


class StoreUnavailable(Exception):
    """Not now: refused, slow, overloaded (429, 5xx). Keep the points, come back after `retry_after_s` or a back-off."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class StoreRefused(StoreUnavailable):
    """Not with these settings: credentials, database or path are wrong (401, 403, 404). A person must act."""
