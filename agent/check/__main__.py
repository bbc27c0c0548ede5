"""`xomnet agent check`: rows as they are found, then one sentence."""

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.check.plan import CANT_WORK, Plan
from agent.check.service import service
from agent.clock.clock import read_clock
from agent.control.remote_config import settings_in_force
from agent.settings import AgentSettings
from xomnet import __version__
from xomnet.check.finding import Finding, fail, say, skip
from xomnet.check.host import about_machine
from xomnet.check.outcome import refuse, tell
from xomnet.check.privileges import become_the_service
from xomnet.check.texts import LANGUAGES, CheckTexts, language_of
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
    parser = argparse.ArgumentParser(
        prog="xomnet agent check", description="Check whether this unit is ready to measure."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--lang", choices=LANGUAGES, default=language_of(), help="language of the text")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    parser.add_argument("--no-test", action="store_true", help="skip the download tests")
    arguments = parser.parse_args()
    try:
        settings, targets = settings_in_force(arguments.config), load_targets(config_file("targets.yaml"))
    except SettingsError as error:
        return refuse(error, arguments.json)
    become_the_service(settings.state_dir)
    logging.disable(logging.CRITICAL)  # what the parts would log is in the rows
    about = {"version": __version__, "agent": settings.agent, "machine": about_machine()}
    found = findings(settings, targets, not arguments.no_test)
    head = say("xomnet {version} on {agent} ({machine})", **about)
    return tell(found, head, {"agent": settings.agent}, CheckTexts(arguments.lang), arguments.json)


def findings(settings: AgentSettings, targets: Targets, test: bool) -> Iterator[Finding]:
    """All rows, in the order in which a person would look."""
    plan = Plan(settings, targets, read_clock)
    here = list[Finding]()
    for one in plan.here():
        here.append(one)
        yield one
    if any(one.name == "disk" and one.mark == "fail" for one in here):
        yield skip("collector", say("not checked: fix the disk first"))
        yield from plan.servers()
        return
    try:
        with service(settings, targets) as serving:
            yield from plan.collector(serving)
            yield from plan.servers()
            if test:
                yield from plan.tests(serving)
    except (*CANT_WORK, OSError) as error:
        restart = say("systemctl restart xomnet-agent; then read its log: journalctl -u xomnet-agent")
        yield fail("collector", say("{reason}", reason=str(error)), restart)


if __name__ == "__main__":
    sys.exit(main())
