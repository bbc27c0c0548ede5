"""Errors of measurements and requests; the rooms above translate foreign errors into these."""

from xomnet.contract.messages import Flag


class MeasurementError(Exception):
    """A measurement without a figure. `error` is a short code, `detail` for people; `bytes` were moved all the same."""

    def __init__(
        self,
        error: str,
        detail: str,
        flags: tuple[Flag, ...] = (),
        bytes_: int = 0,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{error}: {detail}")
        self.error, self.detail, self.flags, self.bytes = error, detail, flags, bytes_
        self.retry_after_s = retry_after_s


class ServersBusy(Exception):
    """Every measurement server is busy; try again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"busy, again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class RequestRefused(Exception):
    """A request is refused: `error` is the reason in a word, `detail` for people."""

    def __init__(self, error: str, detail: str) -> None:
        super().__init__(detail)
        self.error, self.detail = error, detail
