"""The fields of what the collector itself writes: states of each minute, roll-ups, months, completeness."""

from xomnet.states import STATES

Kind = type[float] | type[int] | type[bool] | type[str]

OWN: dict[str, dict[str, Kind]] = {}
"""Measurement -> field -> type."""

OWN["line_state"] = {
    "state": str,
    "median_mbps": float,
    "low_mbps": float,
    "high_mbps": float,
    "now_mbps": float,
    "samples": int,
    "target_mbps": float,
    "ratio": float,
    "age_s": float,
    "lat": float,
    "lon": float,
    "state_code": int,  # as in xomnet.states.CODES
    "since_s": float,  # for how long the line has been in this state; if without data, for how long it was expected
    "failed": int,  # tests of the window that failed
    "excluded": int,  # tests of the window that exclusions leave out
    "rtt_ms": float,  # of the last hour: median of the probes' medians
    "loss_percent": float,  # of the last hour: lost of sent
    "latency_bad": int,  # 1 or 0: over the limit of the settings
    "loss_bad": int,
    "maintenance": int,  # 1 while a person has said that the line is worked on
    "acknowledged": int,  # 1 where a person has taken the present trouble on
    "alert_due": int,  # 1 where the state has lasted long enough for an alert, by the settings
}
"""Each minute, for every registered line."""

OWN["place_state"] = {"lines": int, **dict.fromkeys(STATES, int), "share": float, "ratio": float}
"""Each minute, for the province and each area, ISP (PLACE_TAGS): lines by state; `share` meeting of
those that are judged (meeting or short); `ratio` the median of theirs."""

OWN["unit_state"] = {
    "online": int,
    "unhealthy": int,
    "problem": str,  # the first of what is wrong, a word; absent where nothing is
    "version": str,
    "age_s": float,  # of the last health
    "temp_c": float,
    "throttled": int,
    "clock_synced": int,
    "disk_free_bytes": int,
    "spool_depth": int,
    "completeness": float,
    "lat": float,
    "lon": float,
}
"""Each minute, for every registered unit."""

OWN["collector_state"] = {"up": int, "lines": int, "units": int, "units_online": int}
"""Each minute: while it is written, somebody judges."""

_ROLLED: dict[str, Kind] = {
    "tests": int,
    "counted": int,
    "failed": int,
    "median_mbps": float,
    "mean_mbps": float,
    "p5_mbps": float,
    "p95_mbps": float,
    "target_mbps": float,
    "ratio": float,
    "bytes": int,
    "rtt_ms": float,
    "rtt_p95_ms": float,
    "rtt_loaded_ms": float,
    "jitter_ms": float,
    "loss_percent": float,
    "probes": int,
    "outages": int,
    "outage_s": float,
    "excluded": int,  # tests, probes and outages that exclusions leave out: the other counts are without them
}
OWN["line_hour"] = OWN["line_day"] = _ROLLED
"""What a line gave in an hour or a day of the province's time, at its beginning."""

_PLACE_ROLLED: dict[str, Kind] = {**_ROLLED, "lines": int, "measured": int, "meeting": int, "share": float}
OWN["place_hour"] = OWN["place_day"] = _PLACE_ROLLED
"""The same of a place and access: figures are medians over its lines, counts are sums; `meeting` lines have a median at
or above their target, `share` is of those measured."""

OWN["line_month"] = {
    "verdict": str,
    "verdict_code": int,  # the place in collector.judge.verdict.VERDICTS: 0 is the worst
    "samples": int,
    "days": int,
    "peak_samples": int,
    "failed": int,
    "excluded": int,
    "expected": int,
    "median_mbps": float,
    "low_mbps": float,
    "high_mbps": float,
    "mean_mbps": float,
    "p5_mbps": float,
    "p95_mbps": float,
    "consistency": float,
    "target_mbps": float,
    "ratio": float,
}
"""The verdict of a line's month, at its beginning; of the present month as it would be now."""

OWN["place_month"] = {
    **{name: int for name in ("lines", "met", "not_met", "not_certain", "unmeasured")},
    "share": float,
    "ratio": float,
}
"""The verdicts of a place and access: how many lines of each; `share` met of met and not met."""

OWN["completeness"] = {
    "expected": int,
    "stored": int,
    "rejected": int,
    "evicted": int,
    "missing": int,
    "ratio": float,
}
"""What became of the results that a line's manifests of 30 days promised."""

ROLLED = tuple(f"{of}_{time}" for of in ("line", "place") for time in ("hour", "day", "month"))
"""Figures of a time that has passed, or passes: kept for years."""

EVERY_MINUTE = ("line_state", "place_state", "unit_state", "collector_state")
"""What is of the moment only; the roll-ups are for years."""
