"""`xomnet-updater`: what the timers run, and what the plays run over SSH."""

import argparse
import datetime as dt
import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from . import agent_service, certificate, first_boot, releases, renewal, settings, upgrade
from .errors import UpdateError
from .manifest import parse

Command = Callable[[settings.UpdaterSettings, argparse.Namespace], str]


def _upgrade(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    now = dt.datetime.now(dt.UTC)
    return upgrade.pull(known, now) if asked.source is None else upgrade.push(known, asked.source, now, asked.again)


def _missing(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    _, manifest = upgrade.read_manifest(known, asked.source)
    if releases.current_version(known.home) == manifest.version:
        return ""
    return "\n".join(file.name for file in releases.wheels_for(manifest) if not releases.has_wheel(file, known.wheels))


def _renew(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    return renewal.renew(known, time.time(), asked.force)


def _request(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    certificate.make_key(known)
    return certificate.signing_request(known).strip()


def _packages(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    return _reported(lambda: first_boot.install_packages(known.packages))


def _first_boot(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    done = _reported(lambda: first_boot.first_boot(known, dt.datetime.now(dt.UTC)))
    first_boot.write_report(done)
    return done


def _reported(step: Callable[[], str]) -> str:
    """Does a step of the first boot; what prevents it is also written to the boot partition."""
    try:
        return step()
    except UpdateError as error:
        first_boot.write_report(f"not yet: {error}")
        raise


def _check_settings(known: settings.UpdaterSettings, asked: argparse.Namespace) -> str:
    if releases.current_version(known.home) is not None:
        releases.check_config(known.home / "current", asked.file)
    return "good"


def _status(known: settings.UpdaterSettings, _: argparse.Namespace) -> str:
    found = agent_service.agent_status(known.status_url)
    agent, ack = found.get("version", "does not answer"), found.get("last_ack_at", "none")
    version = releases.current_version(known.home)
    data = releases.installed_manifest(known.home, version) if version else None
    until = f", valid until {parse(data).expires:%Y-%m-%d}" if data else ""
    return f"release {version}{until}; agent {agent}, last answer of the collector {ack}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xomnet-updater", description="Upgrade xomnet on this unit, and renew its certificate."
    )
    parser.add_argument(
        "--settings", type=Path, default=Path("/etc/xomnet/updater.toml"), metavar="FILE", help="default: %(default)s"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Command, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(do=do)
        return one

    one = command("upgrade", _upgrade, "Install the release for this unit; roll back if it does not work.")
    one.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="a folder instead of the server; stages do not count"
    )
    one.add_argument("--again", action="store_true", help="with --from: also a release that has failed here")
    one = command("missing", _missing, "List the wheels of a release that this unit does not have.")
    one.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR", help="folder of the release")
    one = command("renew", _renew, "Renew the certificate in the last third of its life.")
    one.add_argument("--force", action="store_true", help="renew now")
    command("request", _request, "Create the unit's key if there is none, and print its certificate request.")
    command("packages", _packages, "Install the packages of the distribution that this unit needs.")
    command("first-boot", _first_boot, "Enrol, install and start this unit, until the collector has answered.")
    one = command("check-settings", _check_settings, "Check a settings file against the release in use.")
    one.add_argument("file", type=Path, metavar="FILE", help="agent.yaml to check")
    command("status", _status, "Show the release in use, and whether the collector answers.")
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
            result = asked.do(known, asked)
    except BlockingIOError:
        print("busy: another run is active; nothing was done", file=sys.stderr)
        return os.EX_TEMPFAIL
    except (UpdateError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(result)
    return 1 if result.startswith("rolled back") else 0


if __name__ == "__main__":
    sys.exit(main())
