"""Which units are online: what the broker last said of each, by its retained state."""

import datetime as dt
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Presence:
    """What the broker last said of an agent: its retained state, and when it was last heard."""

    agent: str
    online: bool
    version: str
    since: dt.datetime


class PresenceSource(Protocol):
    """Who speaks to the broker, and hears of the agents from it."""

    def agents(self) -> list[Presence]: ...

    def trouble(self) -> str | None:
        """What is wrong with the broker, in a sentence."""
