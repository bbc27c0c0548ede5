"""The `xomnet` command."""

from typing import Annotated

import typer

from xomnet import __version__
from xomnet_cli.agent import agent
from xomnet_cli.alerts import ack, maintenance
from xomnet_cli.ask import ask
from xomnet_cli.collector import collector
from xomnet_cli.demo import demo
from xomnet_cli.help_screen import OFFICER, OPERATOR, SERVER, TRY, UNIT, HelpScreen
from xomnet_cli.measure import measure
from xomnet_cli.measure_server import measure_server
from xomnet_cli.month import month
from xomnet_cli.pki import pki
from xomnet_cli.registry import registry
from xomnet_cli.release import release
from xomnet_cli.replay import replay
from xomnet_cli.report import report
from xomnet_cli.results import results

app = typer.Typer(
    cls=HelpScreen,
    help="Measure every hamlet's Internet lines against the provincial targets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(
    rich_help_panel=TRY,
    short_help="Run a small province on this machine, with page and alerts.",
)(demo)
app.command(
    rich_help_panel=TRY,
    short_help="Measure the download speed of this machine's line.",
)(measure)
app.add_typer(agent, name="agent", rich_help_panel=UNIT)
app.add_typer(collector, name="collector", rich_help_panel=SERVER)
app.command(
    "measure-server",
    rich_help_panel=SERVER,
    short_help="Serve download tests to units and clients of LibreSpeed.",
)(measure_server)
app.add_typer(pki, name="pki", rich_help_panel=SERVER)
app.command(
    rich_help_panel=SERVER,
    short_help="Build the database again from the archive.",
)(replay)
app.command(
    rich_help_panel=OPERATOR,
    short_help="Tell units to measure, report, blink or change settings.",
)(ask)
app.command(
    rich_help_panel=OPERATOR,
    short_help="Acknowledge a line's open alert.",
)(ack)
app.add_typer(
    maintenance,
    name="maintenance",
    rich_help_panel=OPERATOR,
    short_help="Manage maintenance windows: no alerts during work on lines.",
)
app.add_typer(registry, name="registry", rich_help_panel=OPERATOR)
app.add_typer(release, name="release", rich_help_panel=OPERATOR)
app.add_typer(results, name="results", rich_help_panel=OPERATOR)
app.add_typer(
    month,
    name="month",
    rich_help_panel=OFFICER,
    short_help="Close a month: its figures stay as they are.",
)
app.command(
    rich_help_panel=OFFICER,
    short_help="Write the monthly report: PDF, Word, Excel, HTML or CSV.",
)(report)


@app.callback(invoke_without_command=True)
def _print_version(
    version: Annotated[bool, typer.Option("--version", metavar="", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    app()
