"""`xomnet collector`: run the collector, check the server, store rejected results, test the alert channels."""

from pathlib import Path
from typing import Annotated

import typer

from xomnet_cli.aliases import add_hidden_alias
from xomnet_cli.options import AsJson, Config, Lang, language_arguments
from xomnet_cli.process import replace_process

collector = typer.Typer(help="Run the collector, check it, and test its alert channels.", no_args_is_help=True)
CONFIG = Path("/etc/xomnet/collector.yaml")


@collector.command()
def check(config: Config = CONFIG, lang: Lang = None, as_json: AsJson = False) -> None:
    """Check whether this server is ready, and say how to fix what is not.

    The checks cover settings, targets, registry, state folder, store, broker,
    the running collector, alert channels and the operator's token. Nothing is
    stored and nothing is sent. The collector may be running or stopped.

    Exit status: 0 ready, 1 something to fix, 2 wrong settings.

    Example: sudo xomnet collector check
    """
    flags = ["--json"] if as_json else []
    replace_process("collector.check", "--config", str(config), *flags, *language_arguments(lang))


@collector.command()
def run(config: Config = CONFIG) -> None:
    """Receive, store and judge results, and serve the page, until stopped.

    SIGTERM or Ctrl-C stops the collector. SIGHUP makes it read the registry
    again.

    Exit status: 0 stopped, 1 cannot run on this machine, 2 wrong settings.

    Example: xomnet collector run --config /etc/xomnet/collector.yaml
    """
    replace_process("collector", "--config", str(config))


@collector.command()
def resend(
    config: Config = CONFIG,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Only say what would be stored; store nothing.")
    ] = False,
    over_quota: Annotated[
        bool, typer.Option("--over-quota", metavar="", help="Also store what was beyond a unit's quota.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store the rejected results that are valid now.

    Run it after you correct the registry or upgrade xomnet. Each result is
    stored exactly once. The collector may be running or stopped.

    Exit status: 0 no rejected result is left, 1 some are still rejected, 2 the
    command could not run.

    Example: sudo -u xomnet xomnet collector resend --dry-run
    """
    flags = [
        name for name, given in (("--dry-run", dry_run), ("--over-quota", over_quota), ("--json", as_json)) if given
    ]
    replace_process("collector.archive.resend_command", "--config", str(config), *flags)


@collector.command("check-archive")
def check_archive(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="An archive.", show_default="that of the settings")
    ] = None,
    config: Annotated[Path, typer.Option(metavar="FILE", help="Settings file (YAML).", dir_okay=False)] = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Read all of the archive, count its messages, and name what is damaged.

    The collector may be running or stopped. Nothing is changed.

    Exit status: 0 no damage, 1 damage, 2 the archive cannot be read.

    Example: sudo -u xomnet xomnet collector check-archive
    """
    where = ["--config", str(config.resolve())] if folder is None else [str(folder)]
    replace_process("collector.archive", "check", *where, *(["--json"] if as_json else []))


@collector.command("test-notification")
def send_test_notification(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Send a test message to every alert channel, and list the channels that fail.

    The channels are those of notify.urls_file in the settings.

    Exit status: 0 every channel took the message, 1 some failed, 2 wrong
    settings or no channel.

    Example: sudo -u xomnet xomnet collector test-notification
    """
    replace_process("collector.alerts.notify_test", "--config", str(config), *(["--json"] if as_json else []))


add_hidden_alias(collector, "collector", "notify-test", "test-notification", send_test_notification)
