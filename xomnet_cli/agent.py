"""`xomnet agent`: run a unit's service, check the unit, show its status."""

from pathlib import Path
from typing import Annotated

import typer

from xomnet_cli.options import AsJson, Config, Lang, language_arguments
from xomnet_cli.process import replace_process

agent = typer.Typer(help="Check a unit, show its status, or run its service.", no_args_is_help=True)
CONFIG = Path("/etc/xomnet/agent.yaml")


@agent.command()
def check(
    config: Config = CONFIG,
    no_test: Annotated[bool, typer.Option("--no-test", metavar="", help="Skip the download tests.")] = False,
    lang: Lang = None,
    as_json: AsJson = False,
) -> None:
    """Check whether this unit is ready to measure, and say how to fix what is not.

    The checks cover power, clock, disk, ports, modem, broker, collector and
    measurement servers. The last one is a download test of each line: up to
    40 MB on a metered line, 200 MB on any other. The bytes count towards the
    line's data budget. The service may be running or stopped.

    Exit status: 0 ready, 1 something to fix, 2 wrong settings.

    Example: sudo xomnet agent check
    """
    flags = [name for name, given in (("--json", as_json), ("--no-test", no_test)) if given]
    replace_process("agent.check", "--config", str(config), *flags, *language_arguments(lang))


@agent.command()
def status(config: Config = CONFIG, lang: Lang = None, as_json: AsJson = False) -> None:
    """Show the state of the running service.

    This is the connection, the results that wait, and for each line the last
    and the next test and the bytes used this month.

    Exit status: 0 the service runs, 1 it does not answer, 2 wrong settings.

    Example: sudo xomnet agent status
    """
    flags = ["--json"] if as_json else []
    replace_process("agent.status.command", "--config", str(config), *flags, *language_arguments(lang))


@agent.command()
def run(config: Config = CONFIG) -> None:
    """Measure this unit's lines and deliver the results, until stopped.

    SIGTERM or Ctrl-C stops the agent. SIGHUP makes it read the settings again.

    Exit status: 0 stopped, 1 cannot run on this machine, 2 wrong settings.

    Example: xomnet agent run --config /etc/xomnet/agent.yaml
    """
    replace_process("agent", "--config", str(config))
