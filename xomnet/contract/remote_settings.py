"""Which settings of a unit may be changed from the server.

A short fixed list. Nothing on it leads a unit elsewhere or takes a right: broker, certificates, name, paths, ports and
engines stay in agent.yaml, where only who is at the unit writes. Whoever has the operator's token can make a unit
measure more or less, by other servers of the same plain kind; not send its results to somebody else, nor run anything.
"""

import difflib
from typing import Annotated

from msgspec import Meta

CHANGEABLE = {
    "servers": "measurement servers come, go and fill up",
    "anchors": "an anchor that falls silent looks like an outage of every line",
    "latency.every_s": "what a unit spends on latency, and how soon an outage is seen",
    "health.every_s": "how closely a faulty unit is watched",
    "log_level": "a fault is looked into where it happens",
    "lines.LINE.every_s": "a pilot's pace, or back to the slots of the day",
    "lines.LINE.metered": "a subscription changes from metered to flat, or back",
    "lines.LINE.budget_gb": "the provider's bundle changes",
    "lines.LINE.servers": "one provider's way to a server is not another's",
}
"""Key as in agent.yaml, LINE standing for a line's name -> why the server may change it."""

LISTS = frozenset({"servers", "anchors", "lines.LINE.servers"})
"""Those that take a list."""

Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,79}$(?!\n)")]
Setting = float | int | str | bool | tuple[str, ...] | None
"""A value as agent.yaml has it; None: as if agent.yaml did not have the key, so its default."""


def form(key: str) -> str | None:
    """The key as it stands in CHANGEABLE; None if the server may not change it."""
    parts = key.split(".")
    if parts[0] == "lines" and len(parts) == 3 and parts[1]:
        parts[1] = "LINE"
    found = ".".join(parts)
    return found if found in CHANGEABLE else None


def allowed(key: str) -> str:
    """What may be asked for instead of a key that is not on the list."""
    close = difflib.get_close_matches(key, CHANGEABLE, 1)
    return f"{close[0]} (did you mean it?)" if close else "one of " + ", ".join(CHANGEABLE)
