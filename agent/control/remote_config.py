"""Remote settings: changes from the server over agent.yaml, kept on the disk, on trial until they are proven.

A command changes them in the unit's loop, SIGHUP reads agent.yaml again in the main thread: one lock for both.
"""

import itertools
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from agent.clock.clock import boot_ns
from agent.control import config_trial
from agent.control.config_overlay import Overlay, apply_change, effective_values, read_with_overlay
from agent.control.config_trial import RemoteConfigFile, TrialEvidence, add_note
from agent.control.remote_limits import REMOTE
from agent.errors import RequestRefused
from agent.settings import AgentSettings
from xomnet.contract.messages import Event
from xomnet.contract.remote_settings import Setting, suggestion, template_of
from xomnet.runtime.atomic_file import set_aside, write_atomically
from xomnet.runtime.log import Log, set_level
from xomnet.settings import SettingsError

log = Log("agent.control.remote_config")

FILE = "remote.json"
"""In state_dir."""
PROVE_S = 600.0


class ConfigInForce(NamedTuple):
    """The answer to the command `settings`: what is in force, which keys the server changed, and how long the trial
    goes on, in seconds (None: no trial). `ignored`: why the changes are not in force.
    """

    settings: dict[str, Setting]
    changed: tuple[str, ...]
    trial_s: float | None
    ignored: str | None


def settings_in_force(config: Path) -> AgentSettings:
    """The settings of the service, read without touching its files. Raises SettingsError if agent.yaml is wrong."""
    plain = read_with_overlay(config, {})
    try:
        return read_with_overlay(
            config, msgspec.json.decode((plain.state_dir / FILE).read_bytes(), type=RemoteConfigFile).overlay
        )
    except (OSError, msgspec.DecodeError, UnicodeError, SettingsError):
        return plain


class RemoteConfig:
    """Call `load` once, before the loop; `reload` at SIGHUP; the rest in the loop."""

    def __init__(self, config: Path, file: Path, boot: UUID) -> None:
        self._config, self._file, self._boot = config, file, str(boot)
        self._lock = threading.RLock()
        self._on_change: Callable[[AgentSettings], None] = lambda _: None
        self._ignored: str | None = None
        self._on_disk = self._state = RemoteConfigFile()
        self._in_force_ns, self._checks, self._health_requested = boot_ns(), 0, False

    def on_change(self, apply: Callable[[AgentSettings], None]) -> None:
        """Sets the function that takes new settings."""
        self._on_change = apply

    def load(self) -> AgentSettings:
        """The settings of this process, from agent.yaml and the file. Raises SettingsError if agent.yaml is wrong."""
        with self._lock:
            self._load_file()
            self._state = config_trial.count_start(self._state, self._boot, boot_ns())
            self._settings = self._effective_settings()
            self._save()
            return self._settings

    def reload(self) -> None:
        """Reads agent.yaml again. Raises SettingsError if it is wrong; then the settings stay as they are."""
        with self._lock:
            self._apply_settings(self._effective_settings())
            self._save()

    def change(self, settings: Overlay, unset: tuple[str, ...], prove_s: float | None) -> str:
        """Writes a change to the disk and applies it, on trial for `prove_s`; returns a sentence that says so.

        Raises RequestRefused: then nothing has changed.
        """
        with self._lock:
            overlay = self._overlay_after(settings, unset)
            if overlay == self._state.overlay and self._ignored is None:
                return "nothing to change: already " + ("in force" if self._state.trial is None else "on trial")
            try:
                found = read_with_overlay(self._config, overlay)
            except SettingsError as error:
                raise RequestRefused("invalid", str(error)) from error
            limit_s = prove_s or PROVE_S
            state = config_trial.start_trial(self._state, overlay, limit_s, self._boot, boot_ns())
            try:
                self._write(state)
            except OSError as error:
                raise RequestRefused(
                    "disk", f"{self._file}: {error.strerror}; free some space or replace the card"
                ) from error
            log.info("remote settings changed", change=config_trial.describe_change(self._state.overlay, overlay))
            self._state, self._ignored = state, None
            self._apply_settings(found)
            return f"applied; rolls back unless the collector confirms within {limit_s:g} s"

    def _overlay_after(self, settings: Overlay, unset: tuple[str, ...]) -> dict[str, Setting]:
        for key in (*settings, *unset):
            if template_of(key) is None and key not in self._state.overlay:
                raise RequestRefused("forbidden", f"{REMOTE}: {key}: found a key that stays in agent.yaml; "
                                           f"allowed: {suggestion(key)}")  # fmt: skip
        if both := sorted({*settings} & {*unset}):
            raise RequestRefused(
                "invalid", f"{REMOTE}: {both[0]}: found both a value and `unset`; allowed: one of them"
            )
        return apply_change(self._state.overlay, settings, unset)

    def check_trial(self, last_contact_ns: int, hold_s: float) -> bool:
        """Decides whether the change on trial stays; called at each turn of the loop. Arguments as in TrialEvidence.

        Returns True if the unit should report its health now: the answer would prove the change, or the change was
        rolled back.
        """
        with self._lock:
            self._checks += 1
            before = self._state
            if before.trial is None:
                self._save()
                return False
            now_ns = boot_ns()
            evidence = TrialEvidence(now_ns, self._in_force_ns, last_contact_ns, self._checks > 1, hold_s)
            self._state = config_trial.judge(before, evidence)
            if self._state.trial is not None:
                request_health = not self._health_requested and now_ns >= config_trial.settle_ns(
                    self._state.trial, self._in_force_ns
                )
                self._health_requested |= request_health
                return request_health
            self._save()
            if self._state.overlay == before.overlay:
                log.info("remote settings proven: the collector has answered")
                return False
            log.error("remote settings rolled back", reason=self._state.notes[-1].detail)
            try:
                self._apply_settings(self._effective_settings())
            except SettingsError as error:
                log.error("settings refused, the old ones stay", reason=str(error))
            return True

    def next_check_s(self) -> float:
        """Seconds until `check_trial` has something to do; infinite if nothing is on trial."""
        with self._lock:
            if (trial := self._state.trial) is None:
                return math.inf
            now_ns = boot_ns()
            settle_s = (config_trial.settle_ns(trial, self._in_force_ns) - now_ns) / 1e9
            return settle_s if settle_s > 0 else trial.limit_s / config_trial.CHECKS

    def commit_events(self, commit: Callable[[Event], bool]) -> None:
        """Commits the events of the settings to the spool; an event that `commit` refuses is offered again."""
        with self._lock:
            committed = sum(1 for _ in itertools.takewhile(commit, self._state.notes))
            if committed:
                self._state = replace(self._state, notes=self._state.notes[committed:])
                self._save()

    def override_count(self) -> int:
        """The number of settings in force that are not agent.yaml's."""
        return 0 if self._ignored is not None else len(self._state.overlay)

    def config_in_force(self) -> ConfigInForce:
        """The settings in force, and what is on trial."""
        with self._lock:
            left_s = (
                None if self._state.trial is None else max(0.0, config_trial.remaining_s(self._state.trial, boot_ns()))
            )
            keys = tuple(sorted(self._state.overlay))
            return ConfigInForce(effective_values(self._settings), keys, left_s, self._ignored)

    # --- settings

    def _effective_settings(self) -> AgentSettings:
        """agent.yaml with the changes on it, without them if they do not fit. Raises SettingsError if it is wrong."""
        plain = read_with_overlay(self._config, {})
        self._ignored = None
        try:
            return read_with_overlay(self._config, self._state.overlay)
        except SettingsError as error:
            if self._state.trial is not None:
                self._state = config_trial.roll_back(self._state, str(error))
                return self._effective_settings()
            log.error("remote settings ignored, agent.yaml alone is in force", reason=str(error))
            self._ignored = str(error)
            self._state = add_note(self._state, "settings_refused", f"agent.yaml alone is in force: {error}")
            return plain

    def _apply_settings(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._in_force_ns, self._checks, self._health_requested = boot_ns(), 0, False
        set_level(settings.log_level)
        self._on_change(settings)

    # --- the file

    def _load_file(self) -> None:
        try:
            self._on_disk = self._state = msgspec.json.decode(self._file.read_bytes(), type=RemoteConfigFile)
        except FileNotFoundError:
            return
        except (msgspec.DecodeError, UnicodeError, RecursionError, OSError) as error:
            reason = str(error)
            try:
                reason += f"; set aside as {set_aside(self._file).name}"
            except OSError as refusal:
                reason += f"; it can't be set aside: {refusal.strerror}"
            log.error("remote settings damaged, agent.yaml alone is in force", reason=reason)
            self._state = add_note(RemoteConfigFile(), "settings_reset", reason)

    def _write(self, state: RemoteConfigFile) -> None:
        if state != self._on_disk:
            write_atomically(self._file, msgspec.json.encode(state))
            self._on_disk = state

    def _save(self) -> None:
        """Writes the state; if the disk refuses, the next call writes it."""
        try:
            self._write(self._state)
        except OSError as error:
            log.error("remote settings not written", reason=f"{self._file}: {error.strerror}")
