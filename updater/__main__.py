"""`xomnet-updater`: what the timers run, and what the plays run over SSH. `--help` says what there is."""

import argparse
import datetime as dt
import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import first_boot, identity, releases, settings, status, upgrade
from .errors import UpdateError

Command = Callable[[settings.UpdaterSettings, argparse.Namespace], str]


def _upgrade(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    now = dt.datetime.now(dt.UTC)
    return upgrade.pull(known, now) if asked.source is None else upgrade.push(known, asked.source, asked.again)


def _missing(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    _, manifest = upgrade.brought(known, asked.source)
    if releases.current(known.home) == manifest.version:
        return ""
    return "\n".join(file.name for file in releases.wanted(manifest) if not releases.is_here(file, known.wheels))


def _renew(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    return identity.renew(known, time.time(), asked.force)


def _request(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    identity.make_key(known)
    return identity.request(known).strip()


def _first_boot(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    try:
        done = first_boot.first_boot(known, dt.datetime.now(dt.UTC))
    except UpdateError as error:
        first_boot.report(f"not yet: {error}")
        raise
    first_boot.report(done)
    return done


def _check_settings(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    if releases.current(known.home) is not None:
        releases.check_config(known.home / "current", asked.file)
    return "good"


def _status(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    found = status.status(known.status_url)
    said = f"agent {found.get('version', 'silent')}, last answer of the collector {found.get('last_ack_at', 'none')}"
    return f"release {releases.current(known.home)}; {said}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xomnet-updater", description="Keeps this unit's release and certificate.")
    parser.add_argument("--settings", type=Path, default=Path("/etc/xomnet/updater.toml"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(do=do)
        return one

    one = command("upgrade", _upgrade, "Takes the release that is meant for this unit; rolls back what does not work.")
    one.add_argument("--from", dest="source", type=Path, help="a folder instead of the server; stages do not count")
    one.add_argument("--again", action="store_true", help="also one that has failed here; with --from")
    one = command("missing", _missing, "Names the wheels of a folder's release that this unit has not.")
    one.add_argument("--from", dest="source", type=Path, required=True)
    one = command("renew", _renew, "Renews the certificate when two thirds of its time are over.")
    one.add_argument("--force", action="store_true", help="now")
    command("request", _request, "Makes the unit's key unless there is one, and prints its signing request.")
    command("first-boot", _first_boot, "Enrols, installs, starts; again and again until the collector has answered.")
    one = command("check-settings", _check_settings, "Whether the release in force takes a settings file.")
    one.add_argument("file", type=Path)
    command("status", _status, "What is in force, and whether the collector answers.")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done or nothing to do, 1 not done or rolled back, 2 settings, 75 another run is at work; one
    sentence says it.
    """
    asked = _parser().parse_args(arguments)
    os.umask(0o022)
    try:
        known = settings.read(asked.settings)
    except UpdateError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        upgrade.prepare(known)
        with (known.state / "lock").open("w") as lock:
            if asked.do in (_upgrade, _renew, _first_boot):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            said = asked.do(known, asked)
    except BlockingIOError:
        print("busy: another run is at work; nothing was done", file=sys.stderr)
        return os.EX_TEMPFAIL
    except (UpdateError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(said)
    return 1 if said.startswith("rolled back") else 0


if __name__ == "__main__":
    sys.exit(main())
