"""The settings of the updater: `updater.toml`, written by the deployment."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from .errors import UpdateError


@dataclass(frozen=True, kw_only=True)
class UpdaterSettings:
    """`updater.toml`; paths are those of deployment unless a file says otherwise."""

    agent: str
    server: str
    """`https://HOST:PORT`, where units get certificates and releases."""
    area: str = ""
    """The unit's path, such as `Nam Định/Hải Hậu/Hải Minh`: stages of a release may name areas."""
    home: Path = Path("/opt/xomnet")
    state: Path = Path("/var/lib/xomnet-updater")
    config: Path = Path("/etc/xomnet/agent.yaml")
    pki: Path = Path("/etc/xomnet/pki")
    signers: Path = Path("/etc/xomnet/release.signers")
    """Who may sign releases, as `ssh-keygen -Y verify -f` takes it."""
    token: Path = Path("/etc/xomnet/enrol.token")
    key_owner: str = "xomnet"
    status_url: str = "http://127.0.0.1:8421/status.json"
    python: str = "/usr/bin/python3"
    restart: tuple[str, ...] = ("systemctl", "restart", "xomnet-agent.service")
    reload: tuple[str, ...] = ("systemctl", "reload-or-restart", "xomnet-agent.service")
    enable: tuple[str, ...] = (
        *("systemctl", "enable", "--now"),
        *("xomnet-agent.service", "xomnet-upgrade.timer", "xomnet-renew.timer"),
    )
    """The command that enables and starts the services after a first boot."""
    clock: tuple[str, ...] = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
    """The command that prints `yes` if the clock is synchronised."""
    packages: tuple[str, ...] = ()
    """Packages of the distribution that the first boot installs if they are missing."""
    ack_s: float = 900.0
    """Seconds within which the collector must acknowledge a result of a new release."""
    poll_s: float = 5.0
    download_s: float = 3600.0
    """Seconds that one run may download; the next run continues."""
    max_mb: float = 40.0
    """MB of wheels that one run may receive."""

    @property
    def wheels(self) -> Path:
        return self.home / "wheels"


def read(path: Path) -> UpdaterSettings:
    """The settings in a file. Raises UpdateError that names the key."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UpdateError(f"{path}: {error}; run the playbook, which writes it, or correct it by hand") from error
    hints = get_type_hints(UpdaterSettings)
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(UpdaterSettings)}
    for key in found:
        if key not in known:
            raise UpdateError(f"{path}, {key}: found an unknown key; allowed: {', '.join(known)}")
    for key, required in known.items():
        if required and key not in found:
            raise UpdateError(f"{path}, {key}: missing; write it, it is required")
    return UpdaterSettings(**{key: _value(path, key, hints[key], value) for key, value in found.items()})


def _value(path: Path, key: str, type_: Any, value: Any) -> Any:
    if type_ is Path and isinstance(value, str):
        return Path(value)
    if type_ is float and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    if type_ is str and isinstance(value, str):
        return value
    if isinstance(value, list) and type_ not in (Path, float, str) and all(isinstance(word, str) for word in value):
        return tuple(value)
    wanted = {Path: "a path", float: "a number above 0", str: "a text"}.get(type_, "a list of texts")
    raise UpdateError(f"{path}, {key}: found {value!r}; allowed: {wanted}")
