"""Enrolment and renewal over HTTP: bounded bodies, a log line for each certificate given or refused.

Wrong tokens are not counted: a token has 192 bits, and whoever shares an address with a unit, behind the carrier's NAT,
could lock it out.
"""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from collector.pki.enrolment_tokens import WrongToken
from collector.pki.ledger import Entry, LedgerError
from collector.pki.renewal import NoCertificate, renew, verified_holder
from collector.pki.requests import LARGEST, SigningRefused
from xomnet.registry.registry import RegistryError, read_rows
from xomnet.runtime.log import Log

log = Log("collector.pki")

LARGEST_BODY = LARGEST + 4096
CLIENT = "x-real-ip"
"""Set by nginx; for the log."""

T = TypeVar("T")


class Enrolment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    agent: str
    token: str
    csr: str


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    csr: str


class IssuedCertificate(msgspec.Struct, frozen=True):
    """The answer: the certificate and the authority's own, both in PEM."""

    certificate: str
    ca: str


class EnrolmentFailed(Exception):
    """The answer where there is no certificate."""

    def __init__(self, status: int, what: str, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.status, self.retry_after_s = status, retry_after_s


class EnrolService:
    """The endpoints over one authority and one registry file, which is read for each certificate."""

    def __init__(self, authority: Authority, registry: Path) -> None:
        self._authority, self._registry = authority, registry

    async def certificate(self, request: Request) -> Response:
        """POST {"agent", "token", "csr"} -> {"certificate", "ca"}."""
        client = request.headers.get(CLIENT, "")
        asked = await body_of(request, Enrolment)

        def enrol(now: dt.datetime) -> Entry:
            enrolment_tokens.check(self._authority, asked.agent, asked.token, now)
            self._check_registered(asked.agent)
            return enrolment_tokens.spend(self._authority, asked.agent, asked.token, asked.csr.encode(), now)

        return await self._issue(asked.agent, client, "enrolled", enrol)

    async def renew(self, request: Request) -> Response:
        """POST {"csr"} over a connection with the unit's certificate -> {"certificate", "ca"}."""
        client, headers = request.headers.get(CLIENT, ""), request.headers
        asked = await body_of(request, Renewal)

        def renew_certificate(now: dt.datetime) -> Entry:
            held = verified_holder(self._authority, headers, now)
            try:
                self._check_registered(held.name)
                return renew(self._authority, held, asked.csr.encode(), now)
            except SigningRefused as error:
                raise SigningRefused(f"{held.name}: {error}") from error

        return await self._issue("-", client, "renewed", renew_certificate)

    def _check_registered(self, agent: str) -> None:
        try:
            rows = read_rows(self._registry.read_bytes(), str(self._registry))
        except (OSError, RegistryError) as error:
            log.error("registry not readable", file=str(self._registry), reason=str(error))
            raise EnrolmentFailed(503, "the server's registry cannot be read; tell the operator", 60) from error
        if not any(row.agent == agent for row in rows):
            raise SigningRefused(f"{agent} is not in the server's registry; the operator must add its row to lines.csv")

    async def _issue(self, name: str, client: str, done: str, make: Callable[[dt.datetime], Entry]) -> Response:
        shown = {"agent": name[:40], "client": client}
        try:
            entry = await run_in_threadpool(make, dt.datetime.now(dt.UTC))
        except (WrongToken, NoCertificate, SigningRefused) as error:
            log.warning("no certificate given", **shown, reason=str(error))
            raise EnrolmentFailed(400 if isinstance(error, SigningRefused) else 403, str(error)) from error
        except LedgerError as error:
            log.error("no certificate given", **shown, reason=str(error))
            raise EnrolmentFailed(503, "the authority's ledger cannot be written; tell the operator", 60) from error
        log.info(done, agent=entry.name, client=client, serial=entry.serial, until=entry.until.isoformat())
        return _json(IssuedCertificate(entry.pem, self._authority.pem))


async def body_of(request: Request, type_: type[T]) -> T:
    """The body as a value. Raises EnrolmentFailed where it is too large or something else."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_BODY:
            raise EnrolmentFailed(413, f"the body is too large; send at most {LARGEST_BODY} bytes")
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnrolmentFailed(400, f"the body is not valid: {error}") from error


def create_app(authority: Authority, registry: Path) -> Starlette:
    """The service for nginx to stand in front of."""
    service = EnrolService(authority, registry)

    async def answer_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, EnrolmentFailed)
        answer = _json({"error": str(error)}, error.status)
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
        return answer

    return Starlette(
        routes=[
            Route("/enrol/v1/certificate", service.certificate, methods=["POST"]),
            Route("/enrol/v1/renew", service.renew, methods=["POST"]),
        ],
        exception_handlers={EnrolmentFailed: answer_error},
    )


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
