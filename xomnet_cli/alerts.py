"""`xomnet ack` and `xomnet maintenance`: an operator's word on alerts, to a running collector."""

import datetime as dt
import getpass
import json
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import typer

from xomnet.plan import PROVINCE_TIME
from xomnet_cli import completion
from xomnet_cli.options import AsJson
from xomnet_cli.rest_client import DEFAULT_TOKEN_FILE, DEFAULT_URL, RestClient, RestError, TokenFile, Url

LOCAL = ZoneInfo(PROVINCE_TIME)
SPANS = {"m": "minutes", "h": "hours", "d": "days"}

WHICH_LINES = "Which lines: a unit, a line of it, an area or a provider"
By = Annotated[
    str, typer.Option(metavar="NAME", help="Your name, for digests and the page.", show_default="your login")
]

maintenance = typer.Typer(
    help="Manage maintenance windows: no alerts for lines that are being worked on.", no_args_is_help=True
)


def ack(
    agent: Annotated[
        str, typer.Argument(metavar="UNIT", help="The unit, as in the registry.", autocompletion=completion.units)
    ],
    line: Annotated[str, typer.Argument(metavar="LINE", help="Its line.", autocompletion=completion.lines)],
    note: Annotated[str, typer.Option(metavar="TEXT", help="What you do about it.")] = "",
    whole_alert: Annotated[
        bool, typer.Option("--whole-alert", metavar="", help="Acknowledge every line of the same alert.")
    ] = False,
    by: By = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Acknowledge a line's open alert; the digest shows your name until it recovers.

    Exit status: 0 done, 1 the collector refused or could not be reached.

    Example: xomnet ack nd-giaothuy-0002 4g --note "antenna ordered"
    """
    body = {"by": by or getpass.getuser(), "note": note, "whole_alert": whole_alert}
    path = f"/api/v1/lines/{quote(agent, safe='')}/{quote(line, safe='')}/acknowledge"
    answer = _request(lambda: RestClient(url, token_file).post(path, body), as_json)
    for one in [] if as_json else answer["acknowledged"]:
        print(f"{one['agent']} / {one['line']}: acknowledged by {one['by']}")


@maintenance.command()
def add(
    until: Annotated[
        str,
        typer.Option(metavar="TIME", help="End: 2026-11-22T18:00 (Viet Nam), or 90m, 4h, 2d after the beginning."),
    ],
    why: Annotated[str, typer.Option(metavar="TEXT", help="What is done.")],
    agent: Annotated[
        str | None,
        typer.Option(metavar="UNIT", help="Unit.", rich_help_panel=WHICH_LINES, autocompletion=completion.units),
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            metavar="LINE", help="Line of the unit.", rich_help_panel=WHICH_LINES, autocompletion=completion.lines
        ),
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(
            metavar="AREA",
            help='Area, such as "Ninh Bình/xã Hải Anh".',
            rich_help_panel=WHICH_LINES,
            autocompletion=completion.areas,
        ),
    ] = None,
    isp: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER",
            help="Provider.",
            rich_help_panel=WHICH_LINES,
            autocompletion=completion.providers,
        ),
    ] = None,
    from_: Annotated[
        str, typer.Option("--from", metavar="TIME", help="Beginning, written as the end.", show_default="now")
    ] = "",
    by: By = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Announce maintenance: its lines raise no new alerts until it ends.

    A line that still has a problem then is reported.

    Exit status: 0 done, 1 the collector refused or could not be reached.

    Example: xomnet maintenance add --agent nd-haihau-0012 --until 4h --why "new router"
    """
    begins = _parse_time(from_, _now()) if from_ else _now()
    body = {
        "agent": agent,
        "line": line,
        "area": area,
        "isp": isp,
        "by": by or getpass.getuser(),
        "why": why,
        "from": begins.isoformat(),
        "until": _parse_time(until, begins).isoformat(),
    }
    given = {key: value for key, value in body.items() if value is not None}
    answer = _request(lambda: RestClient(url, token_file).post("/api/v1/maintenance", given), as_json)
    if not as_json:
        print(_format_window(answer))


@maintenance.command("list")
def list_(url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """List maintenance: active, planned, and ended within the last 30 days.

    Exit status: 0 done, 1 the collector refused or could not be reached.

    Example: xomnet maintenance list
    """
    answer = _request(lambda: RestClient(url).get("/api/v1/maintenance"), as_json)
    if not as_json:
        print("\n".join(_format_window(one) for one in answer["maintenance"]) or "no maintenance")


@maintenance.command()
def end(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Its number in `xomnet maintenance list`.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """End maintenance now, or cancel it if it has not begun.

    Exit status: 0 done, 1 the collector refused or could not be reached.

    Example: xomnet maintenance end 7
    """
    answer = _request(lambda: RestClient(url, token_file).delete(f"/api/v1/maintenance/{number}"), as_json)
    if not as_json:
        print(_format_window(answer))


def _request(send: Callable[[], Any], as_json: bool) -> Any:
    """The answer, printed already if it is wanted as JSON. A refusal is printed and ends the command."""
    try:
        answer = send()
    except RestError as error:
        if as_json:
            print(json.dumps({"error": str(error)}, ensure_ascii=False))
        else:
            print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
    return answer


def _now() -> dt.datetime:
    return dt.datetime.now(LOCAL).replace(microsecond=0)


def _parse_time(text: str, begins: dt.datetime) -> dt.datetime:
    """A time, or a span after `begins`. Raises typer.BadParameter."""
    span = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if span is not None:
        return begins + dt.timedelta(**{SPANS[span[2]]: int(span[1])})
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"found {text!r}; write 2026-11-22T18:00, or 90m, 4h, 2d") from error
    return when if when.tzinfo else when.replace(tzinfo=LOCAL)


def _format_window(one: dict[str, Any]) -> str:
    begins, until = (dt.datetime.fromisoformat(one[key]).astimezone(LOCAL) for key in ("from", "until"))
    scope = one.get("area") or one.get("isp") or " / ".join(one[key] for key in ("agent", "line") if key in one)
    return f"{one['id']:>4}  {begins:%Y-%m-%d %H:%M} – {until:%Y-%m-%d %H:%M}  {scope}: {one['why']} ({one['by']})"
