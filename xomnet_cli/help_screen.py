"""`xomnet --help`: every command on one screen of 80 columns and 24 lines, grouped by who uses it."""

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from typer.core import TyperGroup

AUDIENCES = TRY, UNIT, SERVER, OPERATOR, OFFICER = "Try it", "Unit (technician)", "Server", "Operator", "Officer"
MAX_SHORT_HELP = 200


class HelpScreen(TyperGroup):
    """Typer frames each group of commands, which takes two lines more a group: five do not fit."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        console = Console(highlight=False)
        console.print("[bold]Usage: xomnet COMMAND …[/]   [dim]Options: --help, --version, --install-completion[/]")
        console.print(self.help or "")
        commands = [command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))]
        width = max(len(command.name or "") for command in commands)
        for audience in AUDIENCES:
            console.print(Rule(f"[bold]{audience}[/]", align="left", style="dim"))
            table = Table.grid(padding=(0, 2), pad_edge=False)
            table.add_column(style="bold cyan", min_width=width, no_wrap=True)
            table.add_column()
            for command in commands:
                if getattr(command, "rich_help_panel", None) == audience and not command.hidden:
                    table.add_row(command.name, command.get_short_help_str(MAX_SHORT_HELP))
            console.print(Padding(table, (0, 0, 0, 1)))
