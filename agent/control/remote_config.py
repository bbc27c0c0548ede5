"""Settings from afar: what was changed, on the disk, over agent.yaml, and whether it stays.

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
from agent.control.config_overlay import AFAR, Overlay, changed, in_force, read
from agent.control.config_trial import Reached, RemoteConfigFile, noted
from agent.errors import RequestRefused
from agent.settings import AgentSettings
from xomnet.contract.messages import Event
from xomnet.contract.remote_settings import Setting, allowed, form
from xomnet.runtime.atomic_file import set_aside, write_atomically
from xomnet.runtime.log import Log, set_level
from xomnet.settings import SettingsError

log = Log("agent.control.remote_config")

FILE = "remote.json"
"""In state_dir."""
PROVE_S = 600.0


class ConfigInForce(NamedTuple):
    """What is in force, as the operator asks for it."""

    settings: dict[str, Setting]
    changed: tuple[str, ...]
    trial_s: float | None
    ignored: str | None


def settings_in_force(config: Path) -> AgentSettings:
    """What the service works by, or would, for who only looks. Raises SettingsError where agent.yaml is at fault."""
    plain = read(config, {})
    try:
        return read(config, msgspec.json.decode((plain.state_dir / FILE).read_bytes(), type=RemoteConfigFile).overlay)
    except (OSError, msgspec.DecodeError, UnicodeError, SettingsError):
        return plain


class RemoteConfig:
    """`begin` once, before the loop; `reload` at SIGHUP; the rest in the loop."""

    def __init__(self, config: Path, file: Path, boot: UUID) -> None:
        self._config, self._file, self._boot = config, file, str(boot)
        self._lock = threading.RLock()
        self._apply: Callable[[AgentSettings], None] = lambda _: None
        self._ignored: str | None = None
        self._on_disk = self._state = RemoteConfigFile()
        self._in_force_ns, self._looks, self._spoken = boot_ns(), 0, False

    def on_change(self, apply: Callable[[AgentSettings], None]) -> None:
        """Who works by the settings."""
        self._apply = apply

    def begin(self) -> AgentSettings:
        """What this process works by. Raises SettingsError where agent.yaml itself is at fault."""
        with self._lock:
            self._read()
            self._state = config_trial.started(self._state, self._boot, boot_ns())
            self._settings = self._fitting()
            self._save()
            return self._settings

    def reload(self) -> None:
        """agent.yaml was edited. Raises SettingsError where it is at fault; then the settings stay as they are."""
        with self._lock:
            self._put_in_force(self._fitting())
            self._save()

    def change(self, settings: Overlay, unset: tuple[str, ...], prove_s: float | None) -> str:
        """Into force and onto the disk, on trial; says so. Raises RequestRefused, then nothing has changed."""
        with self._lock:
            overlay = self._changed(settings, unset)
            if overlay == self._state.overlay and self._ignored is None:
                return "nothing to change: it is so already" + ("" if self._state.trial is None else ", on trial")
            try:
                found = read(self._config, overlay)
            except SettingsError as error:
                raise RequestRefused("invalid", str(error)) from error
            limit_s = prove_s or PROVE_S
            state = config_trial.tried(self._state, overlay, limit_s, self._boot, boot_ns())
            try:
                self._write(state)
            except OSError as error:
                raise RequestRefused(
                    "disk", f"{self._file}: {error.strerror}; free some space or replace the card"
                ) from error
            log.info("settings changed from afar", change=config_trial.difference(self._state.overlay, overlay))
            self._state, self._ignored = state, None
            self._put_in_force(found)
            return f"in force; the former ones come back unless the collector answers within {limit_s:g} s"

    def _changed(self, settings: Overlay, unset: tuple[str, ...]) -> dict[str, Setting]:
        for key in (*settings, *unset):
            if form(key) is None and key not in self._state.overlay:
                raise RequestRefused("forbidden", f"{AFAR}: {key}: found a key that stays in agent.yaml; "
                                           f"allowed: {allowed(key)}")  # fmt: skip
        if both := sorted({*settings} & {*unset}):
            raise RequestRefused(
                "invalid", f"{AFAR}: {both[0]}: found both a value and that it be unset; allowed: one of them"
            )
        return changed(self._state.overlay, settings, unset)

    def look(self, answered_ns: int, held_s: float) -> bool:
        """At each turn of the loop: whether what is on trial stays. `answered_ns` and `held_s` as in Reached.

        True where the unit should report its health now: its answer would prove the change, or the change is gone.
        """
        with self._lock:
            self._looks += 1
            before = self._state
            if before.trial is None:
                self._save()
                return False
            now_ns = boot_ns()
            reached = Reached(now_ns, self._in_force_ns, answered_ns, self._looks > 1, held_s)
            self._state = config_trial.judged(before, reached)
            if self._state.trial is not None:
                speak = not self._spoken and now_ns >= config_trial.settled_ns(self._state.trial, self._in_force_ns)
                self._spoken |= speak
                return speak
            self._save()
            if self._state.overlay == before.overlay:
                log.info("settings from afar kept: the collector has answered")
                return False
            log.error("settings from afar rolled back", reason=self._state.notes[-1].detail)
            try:
                self._put_in_force(self._fitting())
            except SettingsError as error:
                log.error("settings refused, the old ones stay", reason=str(error))
            return True

    def due_s(self) -> float:
        """When `look` has something to do again; without an end where nothing is on trial."""
        with self._lock:
            if (tried := self._state.trial) is None:
                return math.inf
            now_ns = boot_ns()
            settle_s = (config_trial.settled_ns(tried, self._in_force_ns) - now_ns) / 1e9
            return settle_s if settle_s > 0 else tried.limit_s / config_trial.LOOKS

    def tell(self, commit: Callable[[Event], bool]) -> None:
        """What has befallen the settings, to the spool; what it does not take is told again."""
        with self._lock:
            told = sum(1 for _ in itertools.takewhile(commit, self._state.notes))
            if told:
                self._state = replace(self._state, notes=self._state.notes[told:])
                self._save()

    def count(self) -> int:
        """How many settings are not agent.yaml's."""
        return 0 if self._ignored is not None else len(self._state.overlay)

    def standing(self) -> ConfigInForce:
        """What is in force, and since when for good."""
        with self._lock:
            left_s = None if self._state.trial is None else max(0.0, config_trial.left_s(self._state.trial, boot_ns()))
            keys = tuple(sorted(self._state.overlay))
            return ConfigInForce(in_force(self._settings), keys, left_s, self._ignored)

    # --- settings

    def _fitting(self) -> AgentSettings:
        """agent.yaml with what fits it. Raises SettingsError where agent.yaml itself does not load."""
        plain = read(self._config, {})
        self._ignored = None
        try:
            return read(self._config, self._state.overlay)
        except SettingsError as error:
            if self._state.trial is not None:
                self._state = config_trial.rolled_back(self._state, str(error))
                return self._fitting()
            log.error("settings from afar ignored, agent.yaml alone is in force", reason=str(error))
            self._ignored = str(error)
            self._state = noted(self._state, "settings_refused", f"agent.yaml alone is in force: {error}")
            return plain

    def _put_in_force(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._in_force_ns, self._looks, self._spoken = boot_ns(), 0, False
        set_level(settings.log_level)
        self._apply(settings)

    # --- the file

    def _read(self) -> None:
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
            log.error("settings from afar damaged, agent.yaml alone is in force", reason=reason)
            self._state = noted(RemoteConfigFile(), "settings_reset", reason)

    def _write(self, state: RemoteConfigFile) -> None:
        if state != self._on_disk:
            write_atomically(self._file, msgspec.json.encode(state))
            self._on_disk = state

    def _save(self) -> None:
        """As far as the disk takes it: what is not written is written with the next look."""
        try:
            self._write(self._state)
        except OSError as error:
            log.error("settings from afar not written down", reason=f"{self._file}: {error.strerror}")
