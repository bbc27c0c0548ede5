"""Traces of packet opportunities in mahimahi's format: one millisecond timestamp a line, 1500 bytes each, looping."""

import math
import random
from pathlib import Path

OPPORTUNITY_BYTES = 1500


class TraceError(ValueError):
    """A trace that can't be used: file, line, what was found and what is allowed."""


def parse_trace(text: str, source: str = "trace") -> tuple[int, ...]:
    """The timestamps in milliseconds. Raises TraceError with the line.

    After the last one the trace begins again, so the last one is also its length.
    """
    times: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        found = line.strip()
        if not (found.isascii() and found.isdigit()):
            raise TraceError(
                f"{source}:{number}: found {found!r}; a line is one whole number of milliseconds, 0 or more"
            )
        if times and int(found) < times[-1]:
            raise TraceError(f"{source}:{number}: found {found} after {times[-1]}; timestamps never fall")
        times.append(int(found))
    if not times or times[-1] == 0:
        found = f"{len(times)} lines" + (" of 0" if times else "")
        raise TraceError(f"{source}: found {found}; the last line is the length of the trace, 1 ms or more")
    return tuple(times)


def load_trace(path: Path) -> tuple[int, ...]:
    """The timestamps in a file. Raises TraceError, also where the file can't be read."""
    try:
        return parse_trace(path.read_text(encoding="ascii"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}; a trace is a text file with one millisecond timestamp a line") from error


def write_trace(path: Path, times: tuple[int, ...]) -> Path:
    """Writes a trace where a Link can name it, and returns the path."""
    path.write_text("".join(f"{time}\n" for time in times), encoding="ascii")
    return path


def mean_mbps(times: tuple[int, ...]) -> float:
    """The rate in Mb/s of IP packets that the trace offers over its length."""
    return len(times) * OPPORTUNITY_BYTES * 8 / (times[-1] * 1000)


def mobile_trace(mbps: float, seconds: float = 60.0, variation: float = 0.3, seed: int = 1) -> tuple[int, ...]:
    """An LTE-like trace: the logarithm of the rate drifts, a millisecond at a time (an AR(1) process with a memory of a
    second). `variation` is the standard deviation of that logarithm; the mean over the trace is `mbps` within 1 %.
    """
    draw = random.Random(seed)  # noqa: S311 - it makes a channel, not a secret
    memory = math.exp(-1 / 1000)
    step = variation * math.sqrt(1 - memory**2)
    level = draw.gauss(0, variation)
    rates: list[float] = []
    for _ in range(round(seconds * 1000)):
        rates.append(math.exp(level))
        level = memory * level + draw.gauss(0, step)
    packets = mbps * 1000 * len(rates) / (OPPORTUNITY_BYTES * 8)
    scale = packets / sum(rates)
    times: list[int] = []
    owed = 0.0
    for millisecond, rate in enumerate(rates, 1):
        owed += rate * scale
        times += [millisecond] * int(owed)
        owed -= int(owed)
    if not times or times[-1] != len(rates):
        times.append(len(rates))
    return tuple(times)
