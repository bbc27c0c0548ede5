"""What the page and the REST interface read: one value, wired by `collector.run`."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from collector.alerts.dispatcher import Courier
from collector.alerts.service import Desk
from collector.commands.commands import Commands
from collector.completeness.completeness import Completeness
from collector.ingest.dead_letters import DeadLetters
from collector.judge.line_states import LineStates
from collector.metrics import Metrics
from collector.store import Store
from xomnet.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """What the broker last said of an agent: its retained state, and when it was last heard."""

    agent: str
    online: bool
    version: str
    since: dt.datetime


class Agents(Protocol):
    """Who speaks to the broker, and hears of the agents from it."""

    def agents(self) -> list[AgentSeen]: ...

    def trouble(self) -> str | None:
        """What is wrong with the broker, in a sentence."""


@dataclass(frozen=True, slots=True)
class Services:
    """The collector as its readers see it. `registry` is called anew each time: it is reloaded while running."""

    store: Store
    registry: Callable[[], Registry]
    lines: LineStates
    dead_letters: DeadLetters
    metrics: Metrics
    agents: Agents
    completeness: Completeness
    commands: Commands = field(default_factory=Commands)
    alerts: Desk | None = None
    courier: Courier | None = None
    """Who brings the messages of the alerts; None where nobody is told."""
    with_gone: Callable[[], Registry] | None = None
    """As `registry`, with the lines that were taken out of it, each until then; None where none is remembered."""
    started_at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    def ever(self) -> Registry:
        return (self.with_gone or self.registry)()
