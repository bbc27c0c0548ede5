"""Which units are online: what the broker last said of each, by its retained state."""

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

import msgspec

from xomnet.contract.messages import decode_state
from xomnet.runtime.log import Log

log = Log("collector.ingest.presence")

MAX_AGENTS = 100_000


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


class PresenceBoard:
    """What the broker last said of each agent. Written by the network's thread, read by any."""

    def __init__(self) -> None:
        self._agents: dict[str, Presence] = {}

    def receive(self, agent: str, payload: bytes, now: dt.datetime) -> None:
        """A message on an agent's `state`; one that does not say since when holds since `now`."""
        try:
            state = decode_state(payload)
        except msgspec.DecodeError as error:
            log.warning("state not understood", agent=agent, reason=str(error))
            return
        if state.agent != agent or (agent not in self._agents and len(self._agents) >= MAX_AGENTS):
            log.warning("state of another agent", topic=agent, payload=state.agent)
            return
        self._agents[agent] = Presence(agent, state.online, state.version, state.at or now)

    def agents(self) -> list[Presence]:
        return list(self._agents.values())
