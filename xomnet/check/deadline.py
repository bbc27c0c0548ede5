"""Time limit of a check: a check that takes too long, or crashes, is a finding too."""

import queue
import threading
from collections.abc import Callable, Sequence

from xomnet.check.finding import Finding, fail, say

Check = Callable[[], Finding | Sequence[Finding] | None]


def run_limited(name: str, check: Check, limit_s: float) -> list[Finding]:
    """The findings of a check, within `limit_s` seconds. If it takes too long or crashes, that is a failure."""
    given: queue.SimpleQueue[list[Finding]] = queue.SimpleQueue()

    def run() -> None:
        try:
            found = check()
        except Exception as error:  # noqa: BLE001  # whatever it is: a row, and the next check
            defect = say("the check failed: {kind}: {reason}", kind=type(error).__name__, reason=str(error)[:200])
            found = fail(name, defect, say("a defect of xomnet: report this line"))
        given.put([] if found is None else [found] if isinstance(found, Finding) else list(found))

    threading.Thread(target=run, name=f"check-{name}", daemon=True).start()
    try:
        return given.get(timeout=limit_s)
    except queue.Empty:
        return [fail(name, say("no result within {n} s", n=limit_s), say("try again; then report this line"))]
