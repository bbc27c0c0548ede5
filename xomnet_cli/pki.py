"""`xomnet pki`: the province's certificate authority, on the server."""

import datetime as dt
import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from xomnet.registry.registry import RegistryError, read_rows

if TYPE_CHECKING:
    from collector.pki.authority import Authority
    from collector.pki.ledger import Entry

pki = typer.Typer(help="The province's certificate authority.", no_args_is_help=True)

Ca = Annotated[Path, typer.Option("--ca", help="The authority's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
Lines = Annotated[Path, typer.Option("--registry", help="The registry: it says which units there are.")]
Name = Annotated[str, typer.Argument(help="The unit, as in the registry.")]
FOLDER = Path("/var/lib/xomnet-ca")
REGISTRY = Path("/etc/xomnet/lines.csv")


class Kind(StrEnum):
    unit = "unit"
    collector = "collector"
    server = "server"


@pki.command()
def init(
    ca: Ca = FOLDER,
    name: Annotated[str, typer.Option(help="What its own certificate is called.")] = "xomnet CA",
    as_json: AsJson = False,
) -> None:
    """Makes the authority: its key, its certificate (ten years), an empty list of revocations.

    Example: sudo -u xomnet-ca xomnet pki init
    """

    def work() -> tuple[str, dict[str, Any]]:
        from collector.pki.authority import Authority  # noqa: PLC0415  # the server's side, which a unit does not have

        _become_owner(ca)
        made = Authority.make(ca, dt.datetime.now(dt.UTC), name)
        until = made.certificate.not_valid_after_utc
        return (
            f"{ca}: {name}, good until {until:%Y-%m-%d}; keep ca.key twice, away from this machine",
            {"ca": str(ca / "ca.crt"), "until": _time(until)},
        )

    _do(work, as_json)


@pki.command()
def token(
    unit: Name,
    days: Annotated[int, typer.Option(help="How long it is good, 1 to 90.")] = 7,
    ca: Ca = FOLDER,
    registry: Lines = REGISTRY,
    as_json: AsJson = False,
) -> None:
    """Makes a one-time token with which a unit fetches its certificate. One that was made before is good no more.

    Example: sudo xomnet pki token nd-haihau-0012
    """

    def work() -> tuple[str, dict[str, Any]]:
        from collector.pki import tokens  # noqa: PLC0415

        _check_registered(unit, registry)
        now = dt.datetime.now(dt.UTC)
        made = tokens.make(_opened(ca), unit, now, days)
        return made, {"agent": unit, "token": made, "until": _time(now + dt.timedelta(days=days))}

    _do(work, as_json)


@pki.command()
def sign(
    name: Annotated[str, typer.Argument(help="A unit, `collector`, or a server's host name.")],
    csr: Annotated[Path, typer.Option(help="The request (PEM); - reads it from standard input.")],
    kind: Annotated[Kind, typer.Option(help="What the certificate is for.")] = Kind.unit,
    also: Annotated[list[str] | None, typer.Option(help="server: a further name or address; may be repeated.")] = None,
    ca: Ca = FOLDER,
    registry: Lines = REGISTRY,
    as_json: AsJson = False,
) -> None:
    """Signs a certificate request, for 825 days, and prints the certificate.

    Example: xomnet pki sign xomnet.example.vn --kind server --csr server.csr > server.crt
    """

    def work() -> tuple[str, dict[str, Any]]:
        request = sys.stdin.buffer.read(65_536) if str(csr) == "-" else csr.read_bytes()
        if kind is Kind.unit:
            _check_registered(name, registry)
        entry = _opened(ca).sign(request, name, kind.value, dt.datetime.now(dt.UTC), also or ())
        return entry.pem.rstrip("\n"), {**_shown(entry), "certificate": entry.pem}

    _do(work, as_json)


@pki.command()
def revoke(unit: Name, ca: Ca = FOLDER, as_json: AsJson = False) -> None:
    """Revokes every certificate of a name, and its token. Saying it again changes nothing.

    Example: sudo xomnet pki revoke nd-haihau-0012
    """

    def work() -> tuple[str, dict[str, Any]]:
        gone = _opened(ca).revoke(unit, dt.datetime.now(dt.UTC))
        said = f"{unit}: {len(gone)} revoked" if gone else f"{unit}: nothing left to revoke"
        return said, {"name": unit, "revoked": [one.serial for one in gone]}

    _do(work, as_json)


@pki.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only this name.")] = None, ca: Ca = FOLDER, as_json: AsJson = False
) -> None:
    """Lists what was signed: name, kind, until when, whether it is revoked, serial number.

    Example: sudo xomnet pki list --json
    """

    def work() -> tuple[str, dict[str, Any]]:
        now = dt.datetime.now(dt.UTC)
        entries = [one for one in _opened(ca).certificates() if name in (None, one.name)]
        lines = [
            f"{one.name:32}  {one.kind:9}  {one.until:%Y-%m-%d}  {_state(one, now):7}  {one.serial}" for one in entries
        ]
        return "\n".join(lines), {"certificates": [{**_shown(one), "state": _state(one, now)} for one in entries]}

    _do(work, as_json)


def _opened(ca: Path) -> "Authority":
    from collector.pki.authority import Authority  # noqa: PLC0415

    _become_owner(ca)
    return Authority(ca)


def _become_owner(folder: Path) -> None:
    """As root, goes on as the folder's owner: what is written there must stay readable for the service."""
    if os.geteuid() == 0 and folder.is_dir() and (owner := folder.stat()).st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _check_registered(unit: str, registry: Path) -> None:
    from collector.pki.requests import SigningRefused  # noqa: PLC0415

    if not any(row.agent == unit for row in read_rows(registry.read_bytes(), str(registry))):
        raise SigningRefused(f"{registry} has no unit {unit}; add its row, then: xomnet registry check {registry}")


def _state(entry: "Entry", now: dt.datetime) -> str:
    return "revoked" if entry.revoked else "good" if entry.good(now) else "over"


def _shown(entry: "Entry") -> dict[str, Any]:
    revoked = None if entry.revoked is None else _time(entry.revoked)
    times = {"from": _time(entry.from_), "until": _time(entry.until), "revoked": revoked}
    return {"name": entry.name, "kind": entry.kind, "serial": entry.serial, **times}


def _time(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _do(work: Callable[[], tuple[str, dict[str, Any]]], as_json: bool) -> None:
    """Prints what was done. Exit status: 0 done, 1 refused or not possible, with the reason."""
    try:
        from collector.pki.authority import AuthorityError  # noqa: PLC0415
        from collector.pki.ledger import LedgerError  # noqa: PLC0415
        from collector.pki.requests import SigningRefused  # noqa: PLC0415
    except ImportError as error:
        _fail(f"{error.name} is not installed, which the authority needs: pip install 'xomnet[collector]'", as_json)
    try:
        text, document = work()
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}; name a file that can be read", as_json)
    except (AuthorityError, LedgerError, SigningRefused, RegistryError) as error:
        _fail(str(error), as_json)
    if as_json:
        print(json.dumps({"ok": True, **document}, ensure_ascii=False))
    elif text:
        print(text)


def _fail(reason: str, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"ok": False, "error": reason}, ensure_ascii=False))
    else:
        print(reason, file=sys.stderr)
    raise typer.Exit(1)
