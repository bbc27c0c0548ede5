"""What the page and the REST interface read: one value, wired by `collector.run`."""

from collections.abc import Callable
from dataclasses import dataclass

from collector.alerts.dispatcher import Dispatcher
from collector.alerts.service import AlertService
from collector.commands.commands import Commands
from collector.completeness.completeness import Completeness
from collector.ingest.dead_letters import DeadLetters
from collector.ingest.presence import PresenceSource
from collector.judge.line_states import LineStates
from collector.metrics import Metrics
from collector.store import Store
from xomnet.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Services:
    """The collector as its readers see it. `registry` is called each time: it is reloaded while running."""

    store: Store
    registry: Callable[[], Registry]
    lines: LineStates
    dead_letters: DeadLetters
    metrics: Metrics
    agents: PresenceSource
    completeness: Completeness
    commands: Commands
    alerts: AlertService | None = None
    dispatcher: Dispatcher | None = None
    """What sends the messages of the alerts; None if there is no channel."""
    with_removed: Callable[[], Registry] | None = None
    """As `registry`, with the lines that were taken out of it, each until then; None where none is remembered."""

    def registry_with_removed(self) -> Registry:
        return (self.with_removed or self.registry)()
