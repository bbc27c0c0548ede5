"""Remote settings on trial until the collector has answered under them. Pure.

`kept` are the proven settings. A change is written beside them, with the time within which the unit must reach the
collector; else it is rolled back to `kept`. A restart neither proves a change nor gives it more time. A reboot starts
the time again (nobody knows how long the power was away). MAX_STARTS starts without an answer end the trial: the
settings may be what ends the agent.
"""

from typing import Annotated

from msgspec import Meta, Struct, json
from msgspec.structs import replace

from xomnet.contract.messages import Event
from xomnet.contract.remote_settings import Setting
from xomnet.contract.values import to_text

MAX_STARTS = 4
MAX_NOTES = 16
SETTLE_SHARE = 0.1
"""Share of the trial's time: an answer within it may be to something that was sent before the change."""
CHECKS = 20
"""How often the trial is checked within its time."""
_NOT_SET = object()


class ConfigTrial(Struct, frozen=True, kw_only=True):
    settings: dict[str, Setting]
    """All remote settings during the trial."""
    limit_s: Annotated[float, Meta(gt=0, le=86_400)]
    boot: str
    since_ns: int
    """CLOCK_BOOTTIME of that boot at which the trial's time began."""
    starts: int = 0


class RemoteConfigFile(Struct, frozen=True, kw_only=True):
    """The content of `remote.json`."""

    kept: dict[str, Setting] = {}
    trial: ConfigTrial | None = None
    notes: tuple[Event, ...] = ()
    """Events that are not in the spool yet."""

    @property
    def overlay(self) -> dict[str, Setting]:
        """The settings over agent.yaml now."""
        return self.kept if self.trial is None else self.trial.settings


class TrialEvidence(Struct, frozen=True):
    """What a process knows of its connection to the collector. Times in ns are CLOCK_BOOTTIME."""

    now_ns: int
    in_force_ns: int
    """When this process applied these settings."""
    last_contact_ns: int
    """The collector acknowledged something that this process sent then, or sent something itself."""
    loop_turned: bool
    """The loop has done all that was due under these settings once, and goes on."""
    hold_s: float = 0.0
    """How long results wait for the clock before they go out; an answer may take that much longer."""


def add_note(state: RemoteConfigFile, name: str, detail: str) -> RemoteConfigFile:
    """Adds an event for the spool; above MAX_NOTES the oldest are dropped."""
    event = Event(name=name, detail=to_text(detail))
    return replace(state, notes=(*state.notes, event)[-MAX_NOTES:])


def start_trial(
    state: RemoteConfigFile, overlay: dict[str, Setting], limit_s: float, boot: str, now_ns: int
) -> RemoteConfigFile:
    """Starts the trial of a change. It replaces a change that is on trial; a roll-back goes to the proven settings."""
    trial = ConfigTrial(settings=overlay, limit_s=limit_s, boot=boot, since_ns=now_ns)
    return add_note(
        replace(state, trial=trial), "settings_changed", f"{describe_change(state.overlay, overlay)}; on trial"
    )


def count_start(state: RemoteConfigFile, boot: str, now_ns: int) -> RemoteConfigFile:
    """Counts the start of a process; too many starts roll the change back."""
    trial = state.trial
    if trial is None:
        return state
    if trial.starts >= MAX_STARTS:
        return roll_back(state, f"the agent was started {trial.starts} times and has not reached the collector")
    since_ns = trial.since_ns if trial.boot == boot else now_ns
    return replace(state, trial=replace(trial, boot=boot, since_ns=since_ns, starts=trial.starts + 1))


def judge(state: RemoteConfigFile, evidence: TrialEvidence) -> RemoteConfigFile:
    """Keeps the change if the evidence proves it, rolls it back if its time is over, else leaves the state."""
    trial = state.trial
    if trial is None:
        return state
    if evidence.loop_turned and evidence.last_contact_ns >= settle_ns(trial, evidence.in_force_ns):
        return replace(state, kept=trial.settings, trial=None)
    if remaining_s(trial, evidence.now_ns) + evidence.hold_s <= 0:
        return roll_back(state, f"the collector has not answered within {trial.limit_s:g} s")
    return state


def roll_back(state: RemoteConfigFile, reason: str) -> RemoteConfigFile:
    """Puts the proven settings back, and adds the event."""
    if state.trial is None:
        return state
    detail = f"{describe_change(state.trial.settings, state.kept)}: {reason}"
    return add_note(replace(state, trial=None), "settings_rolled_back", detail)


def settle_ns(trial: ConfigTrial, in_force_ns: int) -> int:
    """The CLOCK_BOOTTIME from which an answer counts, in ns."""
    return max(in_force_ns, trial.since_ns) + int(SETTLE_SHARE * trial.limit_s * 1e9)


def remaining_s(trial: ConfigTrial, now_ns: int) -> float:
    """Seconds that are left of a trial of this boot; below 0 if it is over."""
    return trial.limit_s - (now_ns - trial.since_ns) / 1e9


def describe_change(before: dict[str, Setting], after: dict[str, Setting]) -> str:
    """A change on one line: `latency.every_s=60, servers as in agent.yaml`."""
    keys = sorted(key for key in {*before, *after} if before.get(key, _NOT_SET) != after.get(key, _NOT_SET))
    parts = [f"{key}={format_setting(after[key])}" if key in after else f"{key} as in agent.yaml" for key in keys]
    return ", ".join(parts) or "nothing"


def format_setting(value: Setting) -> str:
    """A value as a person writes it."""
    if isinstance(value, str):
        return value
    return ",".join(value) if isinstance(value, tuple) else json.encode(value).decode()
