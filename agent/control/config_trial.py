"""Settings from afar on trial until the collector has answered under them: pure.

`kept` is proven. A change is written beside it, with the time until which the unit must have reached the collector;
else `kept` comes back. A restart neither proves a change nor gives it more time, a reboot begins its time anew (nobody
knows how long the power was away), and so many starts without an answer end it: settings may be what ends the agent.
"""

from typing import Annotated

from msgspec import Meta, Struct, json
from msgspec.structs import replace

from xomnet.contract.messages import Event
from xomnet.contract.remote_settings import Setting

MAX_STARTS = 4
MAX_NOTES = 16
SETTLE = 0.1
"""Of the trial's time: an answer within it may still be to what went on before."""
LOOKS = 20
"""How often, in a trial's time, one looks whether it is over."""
MAX_DETAIL = 512
_NOT_SET = object()


class ConfigTrial(Struct, frozen=True, kw_only=True):
    settings: dict[str, Setting]
    """All that is changed from afar, while this is tried."""
    limit_s: Annotated[float, Meta(gt=0, le=86_400)]
    boot: str
    since_ns: int
    """CLOCK_BOOTTIME of that boot, from which its time counts."""
    starts: int = 0


class RemoteConfigFile(Struct, frozen=True, kw_only=True):
    """What the file holds."""

    kept: dict[str, Setting] = {}
    trial: ConfigTrial | None = None
    notes: tuple[Event, ...] = ()
    """Not in the spool yet."""

    @property
    def overlay(self) -> dict[str, Setting]:
        """What lies over agent.yaml now."""
        return self.kept if self.trial is None else self.trial.settings


class Reached(Struct, frozen=True):
    """What a process knows of the way to the collector. All times are CLOCK_BOOTTIME, in ns."""

    now_ns: int
    in_force_ns: int
    """Since when this process works by these settings."""
    answered_ns: int
    """The collector has answered something that this process said then, or has itself said something then."""
    turned: bool
    """The loop has done whatever was due under these settings, and lives."""
    held_s: float = 0.0
    """How long results wait until they go out: so much longer may an answer take."""


def noted(state: RemoteConfigFile, name: str, detail: str) -> RemoteConfigFile:
    """With something to be told as an event; the oldest ones go where nobody takes them."""
    event = Event(name=name, detail=detail[:MAX_DETAIL])
    return replace(state, notes=(*state.notes, event)[-MAX_NOTES:])


def tried(
    state: RemoteConfigFile, overlay: dict[str, Setting], limit_s: float, boot: str, now_ns: int
) -> RemoteConfigFile:
    """A change begins its trial. What it takes the place of is what was proven, not what was on trial itself."""
    trial = ConfigTrial(settings=overlay, limit_s=limit_s, boot=boot, since_ns=now_ns)
    return noted(replace(state, trial=trial), "settings_changed", f"{difference(state.overlay, overlay)}; on trial")


def started(state: RemoteConfigFile, boot: str, now_ns: int) -> RemoteConfigFile:
    """As a process finds it."""
    trial = state.trial
    if trial is None:
        return state
    if trial.starts >= MAX_STARTS:
        return rolled_back(state, f"the agent was started {trial.starts} times and has not reached the collector")
    since_ns = trial.since_ns if trial.boot == boot else now_ns
    return replace(state, trial=replace(trial, boot=boot, since_ns=since_ns, starts=trial.starts + 1))


def judged(state: RemoteConfigFile, reached: Reached) -> RemoteConfigFile:
    """Proven, rolled back, or neither yet."""
    trial = state.trial
    if trial is None:
        return state
    if reached.turned and reached.answered_ns >= settled_ns(trial, reached.in_force_ns):
        return replace(state, kept=trial.settings, trial=None)
    if left_s(trial, reached.now_ns) + reached.held_s <= 0:
        return rolled_back(state, f"the collector has not answered within {trial.limit_s:g} s")
    return state


def rolled_back(state: RemoteConfigFile, reason: str) -> RemoteConfigFile:
    """The former settings come back, and it is told."""
    if state.trial is None:
        return state
    detail = f"{difference(state.trial.settings, state.kept)}: {reason}"
    return noted(replace(state, trial=None), "settings_rolled_back", detail)


def settled_ns(trial: ConfigTrial, in_force_ns: int) -> int:
    """From when on an answer counts."""
    return max(in_force_ns, trial.since_ns) + int(SETTLE * trial.limit_s * 1e9)


def left_s(trial: ConfigTrial, now_ns: int) -> float:
    """How much of its time a trial has; of a process that knows its boot."""
    return trial.limit_s - (now_ns - trial.since_ns) / 1e9


def difference(before: dict[str, Setting], after: dict[str, Setting]) -> str:
    """What changes, in a line: `latency.every_s=60, servers as in agent.yaml`."""
    keys = sorted(key for key in {*before, *after} if before.get(key, _NOT_SET) != after.get(key, _NOT_SET))
    said = [f"{key}={shown(after[key])}" if key in after else f"{key} as in agent.yaml" for key in keys]
    return ", ".join(said) or "nothing"


def shown(value: Setting) -> str:
    """As a person writes it."""
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, tuple) else json.encode(value).decode()
