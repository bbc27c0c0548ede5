"""`xomnet ack` and `xomnet maintenance`: what an operator says of lines, to a running collector."""

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
from xomnet_cli.rest import DEFAULT_TOKEN_FILE, DEFAULT_URL, Rest, RestError, TokenFile, Url

LOCAL = ZoneInfo(PROVINCE_TIME)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}

By = Annotated[str, typer.Option(help="Who says so.", show_default="the user's name")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]

maintenance = typer.Typer(help="When what happens to lines is meant: nothing is told of them.", no_args_is_help=True)


def ack(
    agent: Annotated[str, typer.Argument(help="The unit, as in the registry.")],
    line: Annotated[str, typer.Argument(help="Its line.")],
    note: Annotated[str, typer.Option(help="What is being done.")] = "",
    whole_alert: Annotated[bool, typer.Option("--whole-alert", help="Every line of the same alert.")] = False,
    by: By = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: Json = False,
) -> None:
    """Takes a line's present trouble on: digests name who did so, until the line is well again.

    Exit status: 0 done, 1 the collector said no, or could not be asked.

    Example: xomnet ack nd-giaothuy-0002 4g --note "aerial ordered"
    """
    body = {"by": by or getpass.getuser(), "note": note, "whole_alert": whole_alert}
    path = f"/api/v1/lines/{quote(agent, safe='')}/{quote(line, safe='')}/acknowledge"
    found = _asked(lambda: Rest(url, token_file).post(path, body), as_json)
    for one in [] if as_json else found["acknowledged"]:
        print(f"{one['agent']} / {one['line']}: taken on by {one['by']}")


@maintenance.command("add")
def add(
    until: Annotated[str, typer.Option(help="2026-11-22T18:00 (Viet Nam), or from the beginning on: 90m, 4h, 2d.")],
    why: Annotated[str, typer.Option(help="What is done.")],
    agent: Annotated[str | None, typer.Option(help="A unit.")] = None,
    line: Annotated[str | None, typer.Option(help="One of its lines.")] = None,
    area: Annotated[str | None, typer.Option(help="An area, such as Nam Định/Hải Hậu.")] = None,
    isp: Annotated[str | None, typer.Option(help="A provider.")] = None,
    from_: Annotated[str, typer.Option("--from", help="As --until; by default now.")] = "",
    by: By = "",
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: Json = False,
) -> None:
    """Nothing is told of the lines meant until then; what is wrong at its end is.

    Exit status: 0 done, 1 the collector said no, or could not be asked.

    Example: xomnet maintenance add --agent nd-haihau-0012 --until 4h --why "new router"
    """
    begins = _instant(from_, _now()) if from_ else _now()
    body = {"agent": agent, "line": line, "area": area, "isp": isp, "by": by or getpass.getuser(), "why": why,
            "from": begins.isoformat(), "until": _instant(until, begins).isoformat()}  # fmt: skip
    given = {key: value for key, value in body.items() if value is not None}
    found = _asked(lambda: Rest(url, token_file).post("/api/v1/maintenance", given), as_json)
    if not as_json:
        print(_said(found))


@maintenance.command("list")
def list_(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """Maintenance that is on, to come, or was over within 30 days.

    Example: xomnet maintenance list
    """
    found = _asked(lambda: Rest(url).get("/api/v1/maintenance"), as_json)
    if not as_json:
        print("\n".join(_said(one) for one in found["maintenance"]) or "no maintenance")


@maintenance.command("end")
def end(
    number: Annotated[int, typer.Argument(help="Its number, as listed.")],
    url: Url = DEFAULT_URL,
    token_file: TokenFile = DEFAULT_TOKEN_FILE,
    as_json: Json = False,
) -> None:
    """Ends it now; one that has not begun is taken away.

    Example: xomnet maintenance end 7
    """
    found = _asked(lambda: Rest(url, token_file).delete(f"/api/v1/maintenance/{number}"), as_json)
    if not as_json:
        print(_said(found))


def _asked(ask: Callable[[], Any], as_json: bool) -> Any:
    try:
        found = ask()
    except RestError as error:
        if as_json:
            print(json.dumps({"error": str(error)}, ensure_ascii=False))
        else:
            print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    return found


def _now() -> dt.datetime:
    return dt.datetime.now(LOCAL).replace(microsecond=0)


def _instant(text: str, begins: dt.datetime) -> dt.datetime:
    """A time, or so long after `begins`. Raises typer.BadParameter."""
    span = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if span is not None:
        return begins + dt.timedelta(**{UNITS[span[2]]: int(span[1])})
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: write 2026-11-22T18:00, or 90m, 4h, 2d") from error
    return when if when.tzinfo else when.replace(tzinfo=LOCAL)


def _said(one: dict[str, Any]) -> str:
    begins, until = (dt.datetime.fromisoformat(one[key]).astimezone(LOCAL) for key in ("from", "until"))
    what = one.get("area") or one.get("isp") or " / ".join(one[key] for key in ("agent", "line") if key in one)
    return f"{one['id']:>4}  {begins:%Y-%m-%d %H:%M} – {until:%Y-%m-%d %H:%M}  {what}: {one['why']} ({one['by']})"
