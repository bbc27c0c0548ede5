"""`xomnet agent check`: rows as they are found, then one sentence."""

import argparse
import importlib
import json
import logging
import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from agent.check.finding import Finding, fail, say, skip
from agent.check.outcome import document, row, to_fix, verdict
from agent.check.plan import CANT_WORK, Plan, about_machine
from agent.check.service import service
from agent.check.texts import LANGUAGES, Texts, language_of
from agent.remote import settings_in_force
from agent.settings import AgentSettings
from xomnet import __version__
from xomnet.defaults import config_file
from xomnet.settings import SettingsError
from xomnet.targets import Targets, load_targets


def main() -> int:
    """Exit status: 0 ready, 1 something to fix, 2 the settings are wrong, 130 after Ctrl-C."""
    try:
        return check()
    except KeyboardInterrupt:  # a test under way is left; the bytes that were set aside for it count
        return 130


def check() -> int:
    """As `main`."""
    parser = argparse.ArgumentParser(prog="xomnet agent check", description="Is this unit ready to measure?")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--lang", choices=LANGUAGES, default=language_of())
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-test", action="store_true")
    arguments = parser.parse_args()
    t = Texts(arguments.lang)
    try:
        settings, targets = settings_in_force(arguments.config), load_targets(config_file("targets.yaml"))
    except SettingsError as error:
        refusal = json.dumps({"error": str(error)}, ensure_ascii=False) if arguments.json else error
        print(refusal, file=sys.stdout if arguments.json else sys.stderr)
        return 2
    become_the_service(settings.state_dir)
    logging.disable(logging.CRITICAL)  # what the parts would log is in the rows
    machine = about_machine()
    if not arguments.json:
        print(
            t.text(
                "xomnet {version} on {agent} ({machine})", version=__version__, agent=settings.agent, machine=machine
            )
        )
        print(flush=True)
    found: list[Finding] = []
    for one in findings(settings, targets, not arguments.no_test):
        found.append(one)
        if not arguments.json:
            print(row(one, t, sys.stdout.isatty()), flush=True)
    if arguments.json:
        print(json.dumps(document(settings.agent, __version__, machine, found, t), ensure_ascii=False))
    else:
        print(f"\n {verdict(found, t)}")
    return 1 if to_fix(found) else 0


def findings(settings: AgentSettings, targets: Targets, test: bool) -> Iterator[Finding]:
    """All rows, in the order in which a person would look."""
    plan = Plan(settings, targets)
    here = list[Finding]()
    for one in plan.here():
        here.append(one)
        yield one
    if any(one.name == "disk" and one.mark == "fail" for one in here):
        yield skip("collector", say("not asked: the disk first"))
        yield from plan.servers()
        return
    try:
        with service(settings, targets) as serving:
            yield from plan.collector(serving)
            yield from plan.servers()
            if test:
                yield from plan.tests(serving)
    except (*CANT_WORK, OSError) as error:
        restart = say("systemctl restart xomnet-agent; its log: journalctl -u xomnet-agent")
        yield fail("collector", say("{reason}", reason=str(error)), restart)


def become_the_service(state_dir: Path) -> None:
    """Root becomes the user whose folder this is: what it writes must stay that user's, and what that user may not
    read, the service can't use either.
    """
    with suppress(FileNotFoundError):
        owner = state_dir.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            for late in ("_strptime", "encodings.idna"):  # that user may not reach a Python in somebody's home
                importlib.import_module(late)
            with suppress(KeyError):
                os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
    os.umask(0o077)


if __name__ == "__main__":
    sys.exit(main())
