"""Remote settings: the settings of a unit that the server may change.

A short fixed list. Broker, certificates, name, paths, ports and engines are not on it: they stay in agent.yaml, which
can be written only on the unit. A person with the operator's token can make a unit measure more or less, or against
other measurement servers of those that agent.yaml allows; not send its results to somebody else, nor run a program, nor
spend more of a line's data than agent.yaml does.
"""

import difflib
from typing import Annotated

from msgspec import Meta

CHANGEABLE = {
    "servers": "measurement servers come, go and fill up",
    "anchors": "an anchor that falls silent looks like an outage of every line",
    "latency.every_s": "what a unit spends on latency, and how soon an outage is seen",
    "health.every_s": "how closely a unit in trouble is watched",
    "log_level": "a fault is examined where it happens",
    "lines.LINE.every_s": "a pilot's pace, or back to the slots of the day",
    "lines.LINE.metered": "a subscription becomes metered; only agent.yaml says that it is not",
    "lines.LINE.budget_gb": "the provider's bundle becomes smaller; only agent.yaml makes it larger",
    "lines.LINE.servers": "one provider's way to a server is not another's",
}
"""Key as in agent.yaml, LINE standing for a line's name -> why the server may change it."""

LISTS = frozenset({"servers", "anchors", "lines.LINE.servers"})
"""The settings that take a list."""

LIMITS = {
    "latency.every_s": (60.0, 3600.0),
    "health.every_s": (60.0, 3600.0),
    "lines.LINE.every_s": (600.0, 86_400.0),
    "lines.LINE.budget_gb": (0.1, float("inf")),
}
"""Least and most that the server may set. What agent.yaml itself says is allowed too, and what lies between."""
MAX_SERVERS = 16
"""Of a list of servers that comes from the server."""

Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,79}$(?!\n)")]
Setting = float | int | str | bool | tuple[str, ...] | None
"""A value as in agent.yaml; None: as if agent.yaml did not have the key, so its default."""


def template_of(key: str) -> str | None:
    """The entry of CHANGEABLE that a key matches; None if the server may not change the key."""
    parts = key.split(".")
    if parts[0] == "lines" and len(parts) == 3 and parts[1]:
        parts[1] = "LINE"
    found = ".".join(parts)
    return found if found in CHANGEABLE else None


def suggestion(key: str) -> str:
    """What to write instead of a key that is not on the list."""
    close = difflib.get_close_matches(key, CHANGEABLE, 1)
    return f"{close[0]} (did you mean it?)" if close else "one of " + ", ".join(CHANGEABLE)
