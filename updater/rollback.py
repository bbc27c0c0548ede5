"""Rollback: back to the release before, and which release is not tried again."""

from . import agent_service, failpoints, releases
from .notes import note
from .settings import UpdaterSettings
from .state import ReleaseTrial, UpdaterState


def roll_back(settings: UpdaterSettings, state: UpdaterState, trial: ReleaseTrial, reason: str) -> str:
    """Switches back to the release before the trial, and notes it; returns what happened, in a sentence.

    If the collector does not acknowledge that one either, the new release is not to blame, and may be tried later; else
    it is never tried again.
    """
    assert trial.before is not None
    trial.back = reason
    state.save()
    releases.switch(settings.home, trial.before)
    failpoints.at("back")
    agent_service.restart(settings)
    to_blame = agent_service.wait_for_ack(settings, trial.before)
    detail = f"{trial.version} -> {trial.before}: {reason}"
    if not to_blame:
        detail += "; the old release gets no answer either, so the new one is tried again later"
    note(settings.state, "upgrade_rolled_back", detail)
    state.record_failure(trial.version, reason, final=to_blame)
    failpoints.at("blamed")
    return f"rolled back: {detail}"


def give_up(settings: UpdaterSettings, state: UpdaterState, version: str, reason: str, final: bool) -> None:
    """Records that a release could not be installed; notes it if it is not tried again."""
    if state.record_failure(version, reason, final):
        note(settings.state, "upgrade_refused", reason)
