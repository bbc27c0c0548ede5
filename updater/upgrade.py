"""Upgrade: from a signed manifest to a release that the collector has acknowledged, or back to the one before.

After a kill at any point the next run goes on: downloads stay, a release's folder is complete or made again, the link
points to a complete release at any time, and a trial is written to the disk before anything is switched.
"""

import datetime as dt
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from . import agent_service, atomic_file, clock, failpoints, releases
from .canary_rollout import is_included
from .errors import UnfitRelease, UpdateError
from .manifest import ReleaseManifest, parse, version_key
from .notes import note
from .releases import MANIFEST
from .rollback import give_up, roll_back
from .server import Server, open_server
from .settings import UpdaterSettings
from .state import ReleaseFailure, ReleaseTrial, UpdaterState, load_state

MAX_STARTS = 3
MIN_FREE_BYTES = 200_000_000
MANIFEST_URL = f"/releases/v1/{MANIFEST}"


def pull(settings: UpdaterSettings, now: dt.datetime, first: bool = False) -> str:
    """Installs the server's release if it is new and a stage includes this unit; or goes on with a trial.

    `first`: the unit has no release yet, and stages do not count. A server that has only an expired release is noted:
    it may be stale, or somebody may hold back what is newer. Returns what happened, in a sentence. Raises UpdateError.
    """
    state = load_state(settings.state)
    if state.trial is not None:
        return try_out(settings, state)
    server = open_server(settings)
    current = releases.current_version(settings.home)
    installed = releases.installed_manifest(settings.home, current) if current else None
    if installed is not None and server.get(MANIFEST_URL) == installed:
        if is_expired(settings, parse(installed), now):
            note(settings.state, "release_expired", expiry_text(parse(installed)))
        return f"same: {current} is in use"  # most runs end here, after one small answer
    data, manifest = fetch_manifest(settings, server)
    expired = is_expired(settings, manifest, now)
    what, why = decide(
        manifest,
        current,
        state,
        first or is_included(manifest.stages, manifest.version, settings.agent, settings.area, now),
        expired,
    )
    if expired:
        note(settings.state, "release_expired", expiry_text(manifest))
    elif what == "refused":
        note(settings.state, "upgrade_refused", why)
    if what != "take":
        return f"{what}: {why}"
    record_manifest(state, manifest)
    try:
        cost = download_wheels(settings, server, manifest)
    except UnfitRelease as error:
        give_up(settings, state, manifest.version, str(error), final=False)
        raise
    return install(settings, state, manifest, data, cost)


def push(settings: UpdaterSettings, folder: Path, now: dt.datetime, again: bool = False) -> str:
    """Installs the release in a folder, for a person with a shell on the unit; stages do not count.

    `again`: also a release that has failed here. Returns what happened, in a sentence. Raises UpdateError.
    """
    state = load_state(settings.state)
    if state.trial is not None:
        return try_out(settings, state)
    data, manifest = read_manifest(settings, folder)
    if again:
        state.failed.pop(manifest.version, None)
    expired = is_expired(settings, manifest, now)
    what, why = decide(manifest, releases.current_version(settings.home), state, True, expired)
    if what != "take":
        return f"{what}: {why}"
    record_manifest(state, manifest)
    for file in releases.wheels_for(manifest):
        if not releases.has_wheel(file, settings.wheels):
            shutil.copyfile(folder / "files" / file.name, settings.wheels / file.name)
            if not releases.has_wheel(file, settings.wheels):
                (settings.wheels / file.name).unlink()
                raise UpdateError(f"{folder}/files/{file.name}: differs from the signed file; copy it again")
    return install(settings, state, manifest, data, 0)


def read_manifest(settings: UpdaterSettings, folder: Path) -> tuple[bytes, ReleaseManifest]:
    """The manifest in a folder, its bytes and parsed, after its signature is verified. Raises UpdateError."""
    try:
        data, signature = (folder / MANIFEST).read_bytes(), (folder / f"{MANIFEST}.sig").read_bytes()
    except OSError as error:
        raise UpdateError(f"{folder}: {error.strerror}; copy manifest.json and manifest.json.sig there") from error
    releases.verify(data, signature, settings.signers)
    return data, parse(data)


def fetch_manifest(settings: UpdaterSettings, server: Server) -> tuple[bytes, ReleaseManifest]:
    """The server's manifest, its bytes and parsed, after its signature is verified. Raises UpdateError, and
    notes it.
    """
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
    failpoints.at("manifest")
    return data, manifest


def record_manifest(state: UpdaterState, manifest: ReleaseManifest) -> None:
    """Keeps the date of the newest manifest, so that an older one is refused from now on. Raises OSError."""
    if state.made is None or manifest.made > state.made:
        state.made = manifest.made
        state.save()


def is_expired(settings: UpdaterSettings, manifest: ReleaseManifest, now: dt.datetime) -> bool:
    """Whether a manifest is no longer valid; a clock that is not synchronised does not decide that."""
    return now >= manifest.expires and clock.is_synced(settings.clock)


def expiry_text(manifest: ReleaseManifest) -> str:
    """What to do about a manifest that has expired, in a sentence."""
    ended = f"{manifest.expires.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
    return f"{manifest.version}: the release expired at {ended}; refresh it, sign it and publish it"


def decide(
    manifest: ReleaseManifest, current: str | None, state: UpdaterState, included: bool, expired: bool = False
) -> tuple[str, str]:
    """What to do with a release: `take`, `same`, `waits` or `refused`, and why. `included`: by a stage. Pure."""
    version = manifest.version
    if state.made is not None and manifest.made < state.made:
        return "refused", f"the manifest of {version} is older than one that this unit has seen; sign the release again"
    if version == current:
        return "same", f"{version} is in use"
    if expired:
        return "refused", expiry_text(manifest)
    if current is not None and version_key(version) < version_key(current) and not manifest.downgrade:
        return "refused", f"{version} is older than {current}; to go back, make the release with --downgrade"
    if _final(state.failed, version):
        return "waits", f"{version} failed here ({state.failed[version].why}); give the next release a new version"
    if not included:
        return "waits", f"no stage of {version} includes this unit yet"
    return "take", version


def _final(failed: Mapping[str, ReleaseFailure], version: str) -> bool:
    return version in failed and failed[version].final


def download_wheels(settings: UpdaterSettings, server: Server, manifest: ReleaseManifest) -> int:
    """Downloads the wheels that are missing; returns the bytes received. Raises UpdateError, UnfitRelease."""
    missing = [file for file in releases.wheels_for(manifest) if not releases.has_wheel(file, settings.wheels)]
    needed, most = sum(file.bytes for file in missing), int(settings.max_mb * 1e6)
    if needed > most:
        raise UnfitRelease(
            f"{manifest.version}: {needed / 1e6:.1f} MB to download; max_mb in updater.toml allows {most / 1e6:g}"
        )
    deadline, began = time.monotonic() + settings.download_s, server.received
    for file in missing:
        server.download(file, settings.wheels, deadline, began + most)
    failpoints.at("downloaded")
    return server.received


def install(
    settings: UpdaterSettings, state: UpdaterState, manifest: ReleaseManifest, data: bytes, cost_bytes: int
) -> str:
    """Installs a release whose wheels are on the unit, and tries it out. Raises UpdateError."""
    if (free := shutil.disk_usage(settings.home).free) < MIN_FREE_BYTES:
        raise UpdateError(
            f"{settings.home}: found {free / 1e6:.0f} MB free; free at least {MIN_FREE_BYTES / 1e6:.0f} MB"
        )
    before = releases.current_version(settings.home)
    try:
        releases.install(settings, manifest, data)
    except UpdateError as error:
        give_up(settings, state, manifest.version, str(error), isinstance(error, UnfitRelease))
        raise
    if before is None:
        releases.switch(settings.home, manifest.version)
        return f"installed: {manifest.version}"
    state.trial = ReleaseTrial(manifest.version, before, cost_bytes)
    state.save()
    failpoints.at("trial")
    return try_out(settings, state)


def try_out(settings: UpdaterSettings, state: UpdaterState) -> str:
    """Runs or resumes a trial: switches, restarts, waits for the collector to acknowledge; else rolls back."""
    trial = state.trial
    assert trial is not None
    acknowledged = agent_service.is_acknowledged(agent_service.agent_status(settings.status_url), trial.version)
    if trial.back is None and not acknowledged and trial.starts >= MAX_STARTS:
        trial.back = f"the unit went down {trial.starts} times during the trial"
    if trial.back is not None:
        return roll_back(settings, state, trial, trial.back)
    trial.starts += 1
    state.save()
    releases.switch(settings.home, trial.version)
    failpoints.at("switched")
    if agent_service.agent_status(settings.status_url).get("version") != trial.version and not agent_service.restart(
        settings
    ):
        return roll_back(settings, state, trial, "the new release does not start")
    failpoints.at("restarted")
    if not agent_service.wait_for_ack(settings, trial.version):
        return roll_back(settings, state, trial, f"no answer from the collector within {settings.ack_s:g} s")
    failpoints.at("acknowledged")
    done = f"{trial.before} -> {trial.version}, {trial.cost_bytes / 1e3:.0f} kB downloaded"
    note(settings.state, "upgraded", done)
    state.failed.pop(trial.version, None)
    state.trial = None
    state.save()
    failpoints.at("kept")
    releases.prune(settings, [trial.version, trial.before])
    return f"upgraded: {done}"


def prepare(settings: UpdaterSettings) -> None:
    """Makes the folders that the updater works in. Raises OSError."""
    for folder in (settings.state, settings.home / "releases", settings.wheels):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    atomic_file.sync(settings.home)
