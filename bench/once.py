"""One test by our engine as a process: `python -m bench.once URL [mobile]` prints its result as JSON, with the moment
of CLOCK_MONOTONIC at which it ended. Without URL it starts and ends, which tells what the start costs.
"""

import sys
import time

import msgspec

from agent.measure.engines import TestSpec, engine


def test(url: str, *access: str) -> TestSpec:
    """As a unit runs it: on a mobile line 6 s and 40 MB at most."""
    if "mobile" not in access:
        return TestSpec(server=url)
    from agent.measure.download import METERED_BYTES, METERED_MEASURED_S  # noqa: PLC0415  # keeps the start lean

    return TestSpec(server=url, max_bytes=METERED_BYTES, max_measured_s=METERED_MEASURED_S)


if __name__ == "__main__":
    measure = engine("http")
    if len(sys.argv) > 1:
        found = msgspec.to_builtins(measure(test(*sys.argv[1:])))
        sys.stdout.buffer.write(msgspec.json.encode(found | {"ended_at": time.monotonic()}))
