"""From a signed manifest to a release that the collector has answered, or back to the one before.

Whatever it dies at, the next run goes on: what is downloaded stays, a release's folder is complete or made again, the
link points to a complete release at any time, and a trial is written down before anything is switched.
"""

import datetime as dt
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from . import files, releases, state, status
from .errors import UnfitRelease, UpdateError
from .failpoints import reached
from .manifest import ReleaseManifest, order, parse, turn
from .notes import note
from .releases import MANIFEST
from .server import Server
from .settings import UpdaterSettings

MAX_STARTS = 3
MIN_FREE_BYTES = 200_000_000
RESTART_S = 180.0
MANIFEST_URL = f"/releases/v1/{MANIFEST}"


def open_server(settings: UpdaterSettings) -> Server:
    """The server, with this unit's certificate. Raises UpdateError."""
    pki = settings.pki
    return Server(settings.server, pki / "ca.crt", pki / "unit.crt", pki / "unit.key")


def pull(settings: UpdaterSettings, now: dt.datetime, first: bool = False) -> str:
    """One run of the timer: looks, and where there is a new release for this unit, takes it. `first`: there is none
    yet, and it need not be this unit's turn. Returns what happened, in a sentence. Raises UpdateError.
    """
    remembered = state.load(settings.state)
    if remembered.trial is not None:
        return try_out(settings, remembered)
    server = open_server(settings)
    if (have := releases.current(settings.home)) and server.get(MANIFEST_URL) == releases.manifest(settings.home, have):
        return f"same: {have} is in use"  # most looks end here, and cost one connection
    data, manifest = believed(settings, server)
    what, why = decide(manifest, have, remembered, first or turn(manifest, settings.agent, settings.area, now))
    if what == "refused":
        note(settings.state, "upgrade_refused", why)
    if what != "take":
        return f"{what}: {why}"
    remember(remembered, manifest)
    try:
        cost = fetch(settings, server, manifest)
    except UnfitRelease as error:
        given_up(settings, remembered, manifest.version, str(error), final=False)
        raise
    return take(settings, remembered, manifest, data, cost)


def push(settings: UpdaterSettings, folder: Path, again: bool = False) -> str:
    """A release that somebody with a shell here brought in a folder: stages do not count. `again`: also one that has
    failed here. Returns what happened. Raises UpdateError.
    """
    remembered = state.load(settings.state)
    if remembered.trial is not None:
        return try_out(settings, remembered)
    data, manifest = brought(settings, folder)
    if again:
        remembered.failed.pop(manifest.version, None)
    what, why = decide(manifest, releases.current(settings.home), remembered, True)
    if what != "take":
        return f"{what}: {why}"
    remember(remembered, manifest)
    for file in releases.wanted(manifest):
        if not releases.is_here(file, settings.wheels):
            shutil.copyfile(folder / "files" / file.name, settings.wheels / file.name)
            if not releases.is_here(file, settings.wheels):
                (settings.wheels / file.name).unlink()
                raise UpdateError(f"{folder}/files/{file.name}: differs from the signed file; copy it again")
    return take(settings, remembered, manifest, data, 0)


def brought(settings: UpdaterSettings, folder: Path) -> tuple[bytes, ReleaseManifest]:
    """A folder's manifest, its signature verified. Raises UpdateError."""
    try:
        data, signature = (folder / MANIFEST).read_bytes(), (folder / f"{MANIFEST}.sig").read_bytes()
    except OSError as error:
        raise UpdateError(f"{folder}: {error.strerror}; copy manifest.json and manifest.json.sig there") from error
    releases.verify(data, signature, settings.signers)
    return data, parse(data)


def believed(settings: UpdaterSettings, server: Server) -> tuple[bytes, ReleaseManifest]:
    """The server's manifest, if it was signed by a known key. Raises UpdateError, and notes it."""
    for pause_s in (settings.poll_s, 0):
        data, signature = server.get(MANIFEST_URL), server.get(f"{MANIFEST_URL}.sig")
        try:
            releases.verify(data, signature, settings.signers)
            break
        except UpdateError as error:
            if not pause_s:
                note(settings.state, "upgrade_refused", str(error))
                raise
            time.sleep(pause_s)  # a release may be being published: the signature comes a moment later
    manifest = parse(data)
    reached("manifest")
    return data, manifest


def remember(remembered: state.UpdaterState, manifest: ReleaseManifest) -> None:
    if remembered.made is None or manifest.made > remembered.made:
        remembered.made = manifest.made
        remembered.save()


def decide(
    manifest: ReleaseManifest, have: str | None, remembered: state.UpdaterState, its_turn: bool
) -> tuple[str, str]:
    """`take`, `same`, `waits` or `refused`, and why. Pure."""
    version = manifest.version
    if remembered.made is not None and manifest.made < remembered.made:
        return "refused", f"the manifest of {version} is older than one that this unit has seen; sign the release again"
    if version == have:
        return "same", f"{version} is in use"
    if have is not None and order(version) < order(have) and not manifest.downgrade:
        return "refused", f"{version} is older than {have}; to go back, make the release with --downgrade"
    if _final(remembered.failed, version):
        return "waits", f"{version} failed here ({remembered.failed[version].why}); give the next release a new version"
    if not its_turn:
        return "waits", f"no stage of {version} includes this unit yet"
    return "take", version


def _final(failed: Mapping[str, state.ReleaseFailure], version: str) -> bool:
    return version in failed and failed[version].final


def fetch(settings: UpdaterSettings, server: Server, manifest: ReleaseManifest) -> int:
    """Downloads what is missing; returns the bytes that came. Raises UpdateError, UnfitRelease."""
    missing = [file for file in releases.wanted(manifest) if not releases.is_here(file, settings.wheels)]
    needed, most = sum(file.bytes for file in missing), int(settings.max_mb * 1e6)
    if needed > most:
        raise UnfitRelease(
            f"{manifest.version}: {needed / 1e6:.1f} MB to download; max_mb in updater.toml allows {most / 1e6:g}"
        )
    deadline, began = time.monotonic() + settings.download_s, server.received
    for file in missing:
        server.download(file, settings.wheels, deadline, began + most)
    reached("downloaded")
    return server.received


def take(
    settings: UpdaterSettings, remembered: state.UpdaterState, manifest: ReleaseManifest, data: bytes, cost_bytes: int
) -> str:
    """Installs a release whose wheels are here, and tries it out. Raises UpdateError."""
    if (free := shutil.disk_usage(settings.home).free) < MIN_FREE_BYTES:
        raise UpdateError(
            f"{settings.home}: found {free / 1e6:.0f} MB free; free at least {MIN_FREE_BYTES / 1e6:.0f} MB"
        )
    before = releases.current(settings.home)
    try:
        releases.install(settings, manifest, data)
    except UpdateError as error:
        given_up(settings, remembered, manifest.version, str(error), isinstance(error, UnfitRelease))
        raise
    if before is None:
        releases.switch(settings.home, manifest.version)
        return f"installed: {manifest.version}"
    remembered.trial = state.ReleaseTrial(manifest.version, before, cost_bytes)
    remembered.save()
    reached("trial")
    return try_out(settings, remembered)


def try_out(settings: UpdaterSettings, remembered: state.UpdaterState) -> str:
    """Switches, restarts, waits for the collector's answer; else rolls back. Also after a power cut within."""
    trial = remembered.trial
    assert trial is not None
    heard = status.acknowledged(status.status(settings.status_url), trial.version)
    if trial.back is None and not heard and trial.starts >= MAX_STARTS:
        trial.back = f"the unit went down {trial.starts} times during the trial"
    if trial.back is not None:
        return roll_back(settings, remembered, trial, trial.back)
    trial.starts += 1
    remembered.save()
    releases.switch(settings.home, trial.version)
    reached("switched")
    if status.status(settings.status_url).get("version") != trial.version and not restart(settings):
        return roll_back(settings, remembered, trial, "the new release does not start")
    reached("restarted")
    if not status.wait(settings, trial.version):
        return roll_back(settings, remembered, trial, f"no answer from the collector within {settings.ack_s:g} s")
    reached("acknowledged")
    done = f"{trial.before} -> {trial.version}, {trial.cost_bytes / 1e3:.0f} kB downloaded"
    note(settings.state, "upgraded", done)
    remembered.failed.pop(trial.version, None)
    remembered.trial = None
    remembered.save()
    reached("kept")
    releases.prune(settings, [trial.version, trial.before])
    return f"upgraded: {done}"


def roll_back(settings: UpdaterSettings, remembered: state.UpdaterState, trial: state.ReleaseTrial, why: str) -> str:
    """The release before, in force again. If the collector does not answer that one either, the new one may be tried
    later; else never again.
    """
    assert trial.before is not None
    trial.back = why
    remembered.save()
    releases.switch(settings.home, trial.before)
    reached("back")
    restart(settings)
    to_blame = status.wait(settings, trial.before)
    said = f"{trial.version} -> {trial.before}: {why}"
    if not to_blame:
        said += "; the old release gets no answer either, so the new one is tried again later"
    note(settings.state, "upgrade_rolled_back", said)
    remembered.fail(trial.version, why, final=to_blame)
    reached("blamed")
    return f"rolled back: {said}"


def given_up(settings: UpdaterSettings, remembered: state.UpdaterState, version: str, why: str, final: bool) -> None:
    if remembered.fail(version, why, final):
        note(settings.state, "upgrade_refused", why)


def restart(settings: UpdaterSettings) -> bool:
    """Whether the service has come up."""
    try:
        return subprocess.run(settings.restart, timeout=RESTART_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def prepare(settings: UpdaterSettings) -> None:
    """The folders that the tool works in. Raises OSError."""
    for folder in (settings.state, settings.home / "releases", settings.wheels):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    files.sync(settings.home)
