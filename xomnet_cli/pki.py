"""`xomnet pki`: the province's certificate authority (CA), on the server."""

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
from xomnet_cli import completion
from xomnet_cli.options import AsJson

if TYPE_CHECKING:
    from collector.pki.authority import Authority
    from collector.pki.ledger import Entry

pki = typer.Typer(help="Issue, list and revoke certificates of units and servers.", no_args_is_help=True)

Ca = Annotated[Path, typer.Option("--ca", metavar="DIR", help="Folder of the certificate authority.")]
RegistryFile = Annotated[Path, typer.Option("--registry", metavar="FILE", help="Registry that must have the unit.")]
UnitName = Annotated[
    str, typer.Argument(metavar="UNIT", help="The unit, as in the registry.", autocompletion=completion.units)
]
FOLDER = Path("/var/lib/xomnet-ca")
REGISTRY = Path("/etc/xomnet/lines.csv")


class CertificateKind(StrEnum):
    unit = "unit"
    collector = "collector"
    server = "server"


@pki.command()
def init(
    ca: Ca = FOLDER,
    name: Annotated[str, typer.Option(metavar="NAME", help="Common name of its certificate.")] = "xomnet CA",
    as_json: AsJson = False,
) -> None:
    """Create the certificate authority: its key, and its certificate for ten years.

    Exit status: 0 done, 1 refused, with the reason.

    Example: sudo -u xomnet-ca xomnet pki init
    """

    def work() -> tuple[str, dict[str, Any]]:
        from collector.pki.authority import Authority  # noqa: PLC0415  # the server's side, which a unit does not have

        _become_owner(ca)
        made = Authority.make(ca, dt.datetime.now(dt.UTC), name)
        until = made.certificate.not_valid_after_utc
        return (
            f"{ca}: {name}, valid until {until:%Y-%m-%d}; keep two copies of ca.key away from this machine",
            {"ca": str(ca / "ca.crt"), "until": _time(until)},
        )

    _do(work, as_json)


@pki.command()
def token(
    unit: UnitName,
    days: Annotated[int, typer.Option(metavar="DAYS", help="Days until it expires, 1 to 90.")] = 7,
    ca: Ca = FOLDER,
    registry: RegistryFile = REGISTRY,
    as_json: AsJson = False,
) -> None:
    """Issue a one-time token with which a unit gets its certificate.

    Any earlier token of the unit stops working. If the unit comes with a new key, its certificate of the old key is
    revoked.

    Exit status: 0 done, 1 refused, with the reason.

    Example: sudo xomnet pki token nd-haihau-0012
    """

    def work() -> tuple[str, dict[str, Any]]:
        from collector.pki import enrolment_tokens  # noqa: PLC0415

        _check_registered(unit, registry)
        now = dt.datetime.now(dt.UTC)
        made = enrolment_tokens.make(_open(ca), unit, now, days)
        return made, {"agent": unit, "token": made, "until": _time(now + dt.timedelta(days=days))}

    _do(work, as_json)


@pki.command()
def sign(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A unit, `collector`, or the host name of a server.",
            autocompletion=completion.certificate_names,
        ),
    ],
    csr: Annotated[Path, typer.Option(metavar="FILE", help="Certificate request (PEM); - is standard input.")],
    kind: Annotated[CertificateKind, typer.Option(help="Whose certificate it is.")] = CertificateKind.unit,
    also: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Further name or address of a server; may be repeated."),
    ] = None,
    ca: Ca = FOLDER,
    registry: RegistryFile = REGISTRY,
    as_json: AsJson = False,
) -> None:
    """Sign a certificate request for 825 days, and print the certificate.

    A unit has one key: its certificate of another key is revoked at once.

    Exit status: 0 done, 1 refused, with the reason.

    Example: xomnet pki sign xomnet.example.vn --kind server --csr server.csr > server.crt
    """

    def work() -> tuple[str, dict[str, Any]]:
        request = sys.stdin.buffer.read(65_536) if str(csr) == "-" else csr.read_bytes()
        if kind is CertificateKind.unit:
            _check_registered(name, registry)
        entry = _open(ca).sign(request, name, kind.value, dt.datetime.now(dt.UTC), also or ())
        return entry.pem.rstrip("\n"), {**_as_document(entry), "certificate": entry.pem}

    _do(work, as_json)


@pki.command()
def revoke(unit: UnitName, ca: Ca = FOLDER, as_json: AsJson = False) -> None:
    """Revoke every certificate of a unit, and its token.

    A unit without a valid certificate is left as it is.

    Exit status: 0 done, 1 refused, with the reason.

    Example: sudo xomnet pki revoke nd-haihau-0012
    """

    def work() -> tuple[str, dict[str, Any]]:
        revoked = _open(ca).revoke(unit, dt.datetime.now(dt.UTC))
        text = f"{unit}: {len(revoked)} revoked" if revoked else f"{unit}: no valid certificate to revoke"
        return text, {"name": unit, "revoked": [one.serial for one in revoked]}

    _do(work, as_json)


@pki.command("list")
def list_(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Only certificates of this name.", autocompletion=completion.certificate_names
        ),
    ] = None,
    ca: Ca = FOLDER,
    as_json: AsJson = False,
) -> None:
    """List certificates: name, kind, expiry, state, serial number.

    The state is good, revoked, or over, which is expired.

    Exit status: 0 done, 1 refused, with the reason.

    Example: sudo xomnet pki list
    """

    def work() -> tuple[str, dict[str, Any]]:
        now = dt.datetime.now(dt.UTC)
        entries = [one for one in _open(ca).certificates() if name in (None, one.name)]
        lines = [
            f"{one.name:32}  {one.kind:9}  {one.until:%Y-%m-%d}  {_state(one, now):7}  {one.serial}" for one in entries
        ]
        return "\n".join(lines), {"certificates": [{**_as_document(one), "state": _state(one, now)} for one in entries]}

    _do(work, as_json)


def _open(ca: Path) -> "Authority":
    from collector.pki.authority import Authority  # noqa: PLC0415

    _become_owner(ca)
    return Authority(ca)


def _become_owner(folder: Path) -> None:
    """Root continues as the folder's owner: what is written there must stay readable for the service."""
    if os.geteuid() == 0 and folder.is_dir() and (owner := folder.stat()).st_uid != 0:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)


def _check_registered(unit: str, registry: Path) -> None:
    from collector.pki.requests import SigningRefused  # noqa: PLC0415

    if not any(row.agent == unit for row in read_rows(registry.read_bytes(), str(registry))):
        raise SigningRefused(f"{registry}: has no unit {unit}; add its row, then run: xomnet registry check {registry}")


def _state(entry: "Entry", now: dt.datetime) -> str:
    return "revoked" if entry.revoked else "good" if entry.good(now) else "over"


def _as_document(entry: "Entry") -> dict[str, Any]:
    revoked = None if entry.revoked is None else _time(entry.revoked)
    times = {"from": _time(entry.from_), "until": _time(entry.until), "revoked": revoked}
    return {"name": entry.name, "kind": entry.kind, "serial": entry.serial, **times}


def _time(when: dt.datetime) -> str:
    return when.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _do(work: Callable[[], tuple[str, dict[str, Any]]], as_json: bool) -> None:
    """Prints the outcome. Exit status: 0 done, 1 refused or not possible, with the reason."""
    try:
        from collector.pki.authority import AuthorityError  # noqa: PLC0415
        from collector.pki.ledger import LedgerError  # noqa: PLC0415
        from collector.pki.requests import SigningRefused  # noqa: PLC0415
    except ImportError as error:
        _fail(f"{error.name} is not installed; run: pip install 'xomnet[collector]'", as_json)
    try:
        text, document = work()
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}; name a readable file", as_json)
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
