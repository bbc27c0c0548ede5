"""The `xomnet` command. The daemons are started in its place (`execv`), so that they carry none of this with them."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xomnet import __version__
from xomnet_cli.alerts import ack, maintenance
from xomnet_cli.ask import ask
from xomnet_cli.demo import demo
from xomnet_cli.measure import measure
from xomnet_cli.measure_server import measure_server
from xomnet_cli.pki import pki
from xomnet_cli.registry import check
from xomnet_cli.release import release
from xomnet_cli.report import Language, report

app = typer.Typer(
    help="Measures every hamlet's Internet lines against the provincial targets, and loses no result on the way.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
agent = typer.Typer(help="The unit in the hamlet.", no_args_is_help=True)
collector = typer.Typer(help="The server's side.", no_args_is_help=True)
registry = typer.Typer(help="The registry of lines.", no_args_is_help=True)

app.command()(demo)
app.command()(ask)
app.command()(ack)
app.add_typer(maintenance, name="maintenance")
app.command()(measure)
app.command("measure-server")(measure_server)
app.command()(report)
app.add_typer(agent, name="agent")
app.add_typer(collector, name="collector")
app.add_typer(registry, name="registry")
app.add_typer(pki, name="pki")
app.add_typer(release, name="release")
registry.command("check")(check)

Config = Annotated[Path, typer.Option(help="The settings file (YAML).", exists=True, dir_okay=False, resolve_path=True)]
Lang = Annotated[Language | None, typer.Option(help="The language.", show_default="the system's, else Vietnamese")]


@agent.command("run")
def run_agent(config: Config = Path("/etc/xomnet/agent.yaml")) -> None:
    """Measures this unit's lines and reports them, until it is stopped.

    Example: xomnet agent run --config /etc/xomnet/agent.yaml
    """
    _become("agent", "--config", str(config))


@agent.command("check")
def check_agent(
    config: Config = Path("/etc/xomnet/agent.yaml"),
    no_test: Annotated[bool, typer.Option("--no-test", help="Without a download test of each line.")] = False,
    lang: Lang = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Is this unit ready to measure? Power, clock, ports, modem, broker, collector, servers; then a test of each line.

    The service may run or not. A test takes up to 40 MB of a metered line, 200 MB of another, from its budget.

    Exit status: 0 ready, 1 something to fix, 2 the settings are wrong.

    Example: sudo xomnet agent check
    """
    flags = [name for name, given in (("--json", as_json), ("--no-test", no_test)) if given]
    _become("agent.check", "--config", str(config), *flags, *(() if lang is None else ("--lang", lang.value)))


@agent.command("status")
def status_of_agent(
    config: Config = Path("/etc/xomnet/agent.yaml"),
    lang: Lang = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """What the running service knows: since when, connected, results that wait, the last test and the next.

    Exit status: 0 it runs, 1 it does not answer, 2 the settings are wrong.

    Example: sudo xomnet agent status --json
    """
    flags = ["--json"] if as_json else []
    _become("agent.status.command", "--config", str(config), *flags, *(() if lang is None else ("--lang", lang.value)))


@collector.command("run")
def run_collector(config: Config = Path("/etc/xomnet/collector.yaml")) -> None:
    """Takes results in, stores, acknowledges, judges and shows them, until it is stopped.

    Example: xomnet collector run --config /etc/xomnet/collector.yaml
    """
    _become("collector", "--config", str(config))


@collector.command("check")
def check_collector(
    config: Config = Path("/etc/xomnet/collector.yaml"),
    lang: Lang = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Is this server ready? Settings, registry, folder, store, broker, the running collector, alerts, secrets.

    Before a start, or beside a collector, which goes on as it did. Nothing is stored, no message is sent.

    Exit status: 0 ready, 1 something to fix, 2 the settings are wrong.

    Example: sudo xomnet collector check
    """
    flags = ["--json"] if as_json else []
    _become("collector.check", "--config", str(config), *flags, *(() if lang is None else ("--lang", lang.value)))


@collector.command("resend")
def resend(
    config: Config = Path("/etc/xomnet/collector.yaml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be stored.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Stores rejected results that pass now, the registry being mended or xomnet upgraded. A collector may run beside.

    Exit status: 0 nothing is left, 1 some are still refused, 2 it could not be done.

    Example: xomnet collector resend --dry-run
    """
    flags = [name for name, given in (("--dry-run", dry_run), ("--json", as_json)) if given]
    _become("collector.ingest.resend", "--config", str(config), *flags)


@collector.command("notify-test")
def notify_test(
    config: Config = Path("/etc/xomnet/collector.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")] = False,
) -> None:
    """Sends a test message to every channel of `notify.urls_file`, and says which did not take it.

    Exit status: 0 all took it, 1 some did not, 2 the settings can't be used, or name nobody.

    Example: xomnet collector notify-test --config /etc/xomnet/collector.yaml
    """
    _become("collector.alerts.notify_test", "--config", str(config), *(["--json"] if as_json else []))


def _become(module: str, *arguments: str) -> None:
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    app()
