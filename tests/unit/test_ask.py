"""`xomnet ask`: what it refuses before anybody is asked, and the command that asks again."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from xomnet_cli import app

NOWHERE = "http://127.0.0.1:9"


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["ask", *arguments, "--url", NOWHERE])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("nd-a settings --within 5", "--within: it is for a change; give --set or --unset too, or leave it out"),
        ("nd-a measure --within 5", "--within: only settings takes it; leave it out"),
        ("nd-a report --set servers=http://x/", "--set: only settings takes it; leave it out"),
        ("nd-a measure --unset servers", "--unset: only settings takes it; leave it out"),
        ("nd-a settings --line ftth", "--line: only measure takes it; leave it out"),
        ("nd-a identify --line ftth", "--line: only measure takes it; leave it out"),
        ("nd-a report --other-server", "--other-server: only measure takes it; leave it out"),
        ("--all settings --other-server", "--other-server: only measure takes it; leave it out"),
        ("--all measure", "only settings takes --area, --all and several units; for measure give one unit"),
        ("--area x report", "only settings takes --area, --all and several units; for report give one unit"),
        ("nd-a,nd-b measure", "only settings takes --area, --all and several units; for measure give one unit"),
    ],
)
def test_an_option_that_the_command_does_not_take_is_refused_with_what_to_do(arguments: str, reason: str) -> None:
    done = ask(*arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert reason in " ".join(re.sub("[│╭╮╰╯─]", " ", done.stderr).split())


def test_the_command_that_asks_again_goes_to_the_same_collector_with_the_same_change(tmp_path: Path) -> None:
    token = tmp_path / "an operator's token"
    token.write_text("secret\n")
    token.chmod(0o600)
    options = ["--set", "servers=http://a/,http://b/", "--unset", "anchors", "--within", "0.5"]
    options += ["--url", NOWHERE, "--token-file", str(token)]
    command = ["ask", "nd-a,nd-b", "settings", *options]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 1
    assert shlex.split(json.loads(done.stdout)["again"]) == ["xomnet", *command]
    shown = CliRunner().invoke(app, command).stdout.splitlines()[-1]
    assert shlex.split(shown) == ["xomnet", *command]
