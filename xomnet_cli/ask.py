"""`xomnet ask`: a command to a unit and its answer; `settings` also to several units."""

import json
import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn, TextIO, get_args
from urllib.parse import quote

import typer

from xomnet.contract.commands import CommandName
from xomnet_cli import bulk_ask, completion, settings_format
from xomnet_cli.options import AsJson
from xomnet_cli.rest_client import DEFAULT_TOKEN_FILE, DEFAULT_URL, RestClient, RestError, TokenFile, Url

WAIT_S = 30.0
MAX_WAIT_S = 600.0
"""The collector gives up much sooner."""
COMMANDS: tuple[CommandName, ...] = get_args(CommandName)
OF_MEASURE, OF_SETTINGS = "Options of measure", "Options of settings"


def ask(
    unit: Annotated[
        str | None,
        typer.Argument(
            metavar="UNIT",
            help="The unit; for settings also several, with commas. Leave it out with --area or --all.",
            autocompletion=completion.units_or_commands,
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            help="measure: test the lines. settings: show or change settings. report: send the health now. "
            "identify: blink the green LED.",
            autocompletion=completion.commands,
        ),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            metavar="LINE",
            help="Test only this line.",
            rich_help_panel=OF_MEASURE,
            autocompletion=completion.lines,
        ),
    ] = None,
    other_server: Annotated[
        bool,
        typer.Option(
            "--other-server",
            metavar="",
            help="Test from another server than the first.",
            rich_help_panel=OF_MEASURE,
        ),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting; may be repeated. Separate a list by commas; null is the default.",
            rich_help_panel=OF_SETTINGS,
            autocompletion=completion.assignments,
        ),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Return to agent.yaml's value; may be repeated.",
            rich_help_panel=OF_SETTINGS,
            autocompletion=completion.setting_keys,
        ),
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=settings_format.MIN_TRIAL_MINUTES,
            max=settings_format.MAX_TRIAL_MINUTES,
            help="Roll back unless the collector confirms within this time; 10 if left out.",
            rich_help_panel=OF_SETTINGS,
        ),
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            metavar="AREA",
            help='Ask every unit of an area, such as "Ninh Bình/xã Hải Anh".',
            rich_help_panel=OF_SETTINGS,
            autocompletion=completion.areas,
        ),
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", metavar="", help="Ask every registered unit.", rich_help_panel=OF_SETTINGS)
    ] = False,
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Tell a unit to measure, report, blink or change settings, and wait for its answer.

    Exit status: 0 done, 1 refused, no answer or a test without a figure, 2 the
    collector could not be reached.

    Example: xomnet ask nd-haihau-0012 measure --line ftth

    Example: xomnet ask nd-haihau-0012 settings --set latency.every_s=60

    Example: xomnet ask --area "Ninh Bình/xã Hải Anh" settings
    """
    units, name = _parse_words(unit, command, area, all_)
    _check_owner("measure", name, {"--line": line, "--other-server": other_server})
    _check_owner("settings", name, {"--set": set_, "--unset": unset, "--within": within})
    if name != "settings" and len(units) != 1:
        raise typer.BadParameter(f"only settings takes --area, --all and several units; for {name} give one unit")
    change = settings_format.parse_change(set_ or (), unset or (), within)
    body: dict[str, Any] = {"name": name, "wait_s": WAIT_S, **change}
    if line is not None:
        body["line"] = line
    if other_server:
        body["server"] = "other"
    try:
        client = RestClient(url, token_file)
        if len(units) != 1:
            units = units or bulk_ask.find_units(client, area)
            given = [("--set", text) for text in set_ or ()] + [("--unset", key) for key in unset or ()]
            given += [("--within", f"{within:g}")] if within is not None else []
            given += [("--url", url)] if url != DEFAULT_URL else []
            given += [("--token-file", str(token_file))] if token_file != DEFAULT_TOKEN_FILE else []
            _ask_several(client, units, body, [word for pair in given for word in pair], as_json)
        answer = _request(client, units[0], body)
    except RestError as error:
        print(json.dumps({"error": str(error)}, ensure_ascii=False) if as_json else error, file=_stream(as_json))
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print("\n".join(format_answer(answer)), file=_stream((answer.get("reply") or {}).get("ok", False)))
    raise typer.Exit(0 if is_done(answer) else 1)


def _parse_words(unit: str | None, command: str | None, area: str | None, all_: bool) -> tuple[list[str], CommandName]:
    """The units that are named (none: those of the area, or all), and the command. Raises typer.BadParameter."""
    words = [word for word in (unit, command) if word is not None]
    named, name = words[:-1], words[-1] if words else ""
    known = next((one for one in COMMANDS if one == name), None)
    if known is None:
        raise typer.BadParameter(f"found {name!r} as the last word; allowed: {', '.join(COMMANDS)}")
    units = [one.strip() for text in named for one in text.split(",")]
    if (len(named), area is not None, all_) not in ((1, False, False), (0, True, False), (0, False, True)):
        raise typer.BadParameter("give units (separated by commas), --area or --all, and only one of them")
    if "" in units or (area is not None and not area.strip(" /")):
        raise typer.BadParameter("a name is empty; to ask every unit, give --all")
    return units, known


def _check_owner(owner: CommandName, command: CommandName, options: Mapping[str, object]) -> None:
    """Raises typer.BadParameter if another command than their owner is given one of these options."""
    for option, value in options.items():
        if command != owner and value not in (None, False, []):
            raise typer.BadParameter(f"only {owner} takes it; leave it out", param_hint=option)


def _stream(ok: bool) -> TextIO:
    return sys.stdout if ok else sys.stderr


def _ask_several(
    client: RestClient, units: list[str], body: dict[str, Any], options: list[str], as_json: bool
) -> NoReturn:
    width = max(len(unit) for unit in units)

    def print_row(answer: bulk_ask.Answer) -> None:
        if not as_json:
            print(bulk_ask.format_row(answer, width), flush=True)

    answers = bulk_ask.ask_all(units, lambda unit: _request(client, unit, body), print_row)
    repeat = bulk_ask.repeat_command(answers, options)
    if as_json:
        print(bulk_ask.as_json(answers, repeat))
    else:
        print(f"\n{bulk_ask.format_counts(answers)}")
        if repeat is not None:
            print(f"To ask those without an answer again (a unit that has the change says so):\n  {repeat}")
    raise typer.Exit(0 if all(is_done(one) for one in answers) else 1)


def _request(client: RestClient, unit: str, body: dict[str, Any]) -> dict[str, Any]:
    """The unit's answer, waited for. Raises RestError."""
    answer: dict[str, Any] = client.post(f"/api/v1/agents/{quote(unit, safe='')}/commands", body, WAIT_S + 10)
    until = time.monotonic() + MAX_WAIT_S
    while answer["outcome"] == "waiting" and time.monotonic() < until:
        time.sleep(1)
        answer = client.get(f"/api/v1/commands/{answer['id']}")
    return answer


def is_done(answer: dict[str, Any]) -> bool:
    """Whether the unit did it, and every test gave a figure."""
    reply = answer.get("reply") or {}
    return bool(reply.get("ok")) and all("down_mbps" in test for test in reply.get("tested", []))


def format_answer(answer: dict[str, Any]) -> list[str]:
    """The answer for a person, a line each."""
    reply = answer.get("reply")
    if reply is None:
        return [f"{answer['agent']}: {answer.get('detail', answer['outcome'])}"]
    if not reply["ok"]:
        return [f"{answer['agent']}: refused ({reply.get('error')}): {reply.get('detail', 'no reason given')}"]
    if "settings" in reply:
        return settings_format.format_reply(answer["agent"], reply)
    rows = [_format_test(answer["agent"], test) for test in reply.get("tested", [])]
    return rows + (
        [f"{answer['agent']}: {reply['detail']}"] if "detail" in reply else [] if rows else [f"{answer['agent']}: done"]
    )


def _format_test(unit: str, test: dict[str, Any]) -> str:
    figure = f"{test['down_mbps']:.1f} Mb/s" if "down_mbps" in test else f"no figure ({test.get('error')})"
    details = [test["error_detail"]] if "error_detail" in test else []
    if "server" in test:
        details.append(f"from {test['server']}")
    if test.get("bytes"):
        details.append(f"{test['bytes'] / 1e6:.0f} MB")
    if test.get("flags"):
        details.append("flags: " + " ".join(test["flags"]))
    return f"{unit} / {test['line']}: {figure}, " + ", ".join(details)
