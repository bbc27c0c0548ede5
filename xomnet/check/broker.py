"""The way to the broker: TLS, whose certificates are good until when, whether the broker takes ours.

No MQTT is spoken: the broker knows who connects by the certificate's name, and a second connection of that name would
throw out the service's own.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from xomnet.check.finding import Finding, Said, fail, ok, say, warn
from xomnet.mqtt.broker import Broker, Tls
from xomnet.runtime.secrets import SecretError, check_private

CONNECT_S = 8.0
REFUSAL_S = 1.0
"""With TLS 1.3 a broker that does not take our certificate says so after the handshake."""
SOON = 0.2
"""Of a certificate's life: it is renewed when a third is left, so renewing has failed for a while."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: dates are compared here, where both can be told."""
EXPIRED, NOT_YET = 10, 9
WRONG_NAME = {62, 64}
CLOCK = say("set this machine's clock first: timedatectl")


@dataclass(frozen=True, slots=True)
class Side:
    """Whose settings `file` are, and what is done there about what is found."""

    file: str
    name: Said
    """The certificate is another's."""
    files: Said
    """They are not there, or not for this user only."""
    fit: Said
    """They don't match each other, or the authority."""
    renew: Said
    reissue: Said
    """The broker refuses our certificate."""
    up: Said
    """Nobody listens."""
    found: Said
    """No such name."""
    reached: Said
    """No answer."""
    theirs: Said
    """The broker's certificate ends soon."""


class _Found(Exception):
    """What ends the check; carries its row."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def broker(settings: Broker, name: str, side: Side, now: datetime) -> Finding:
    """Everything up to MQTT itself; `name` is what our certificate must say."""
    try:
        if settings.tls is None:
            _connected(settings, side).close()
            open_to_all = say("answers, without TLS")
            return warn(
                "broker",
                open_to_all,
                say("results are sent without encryption: set broker.tls in {file}", file=side.file),
            )
        own = _own(settings.tls, name, side, now)
        theirs = _handshake(settings, settings.tls, name, side)
    except _Found as found:
        return found.finding
    said = (say("TLS"),) if own is None else (say("TLS, certificate valid until {day}", day=_day(own.ends)),)
    if own is not None and own.ends_soon(now):
        return warn("broker", (*said, say("the certificate of {name} expires soon", name=name)), side.renew)
    if theirs.ends_soon(now):
        return warn(
            "broker", (*said, say("the broker's certificate expires on {day}", day=_day(theirs.ends))), side.theirs
        )
    return ok("broker", *said)


@dataclass(frozen=True, slots=True)
class Validity:
    """Seconds of 1970."""

    begins: float
    ends: float

    def ends_soon(self, now: datetime) -> bool:
        return self.ends - now.timestamp() < SOON * (self.ends - self.begins)


def validity(certificate: Mapping[str, Any]) -> Validity:
    """Of a certificate as ssl gives it."""
    return Validity(*(float(ssl.cert_time_to_seconds(certificate[key])) for key in ("notBefore", "notAfter")))


def _own(tls: Tls, name: str, side: Side, now: datetime) -> Validity | None:
    """Of our own certificate; None where there is none. Raises _Found."""
    if tls.cert is None:
        return None
    try:
        if tls.key is not None:
            check_private(tls.key)
        found = own_certificate(tls)
    except (SecretError, OSError) as error:  # SSLError is one
        raise _Found(_unreadable(tls, error, name, side)) from error
    if (other := common_name(found)) != name:
        raise _Found(
            fail("broker", say("the certificate belongs to {other}, not to {name}", other=other, name=name), side.name)
        )
    valid = validity(found)
    if now.timestamp() < valid.begins:
        early = say("the certificate of {name} is not valid before {day}", name=name, day=_day(valid.begins))
        raise _Found(fail("broker", early, CLOCK))
    if now.timestamp() > valid.ends:
        late = say("the certificate of {name} expired on {day}", name=name, day=_day(valid.ends))
        raise _Found(fail("broker", late, side.renew))
    return valid


def _unreadable(tls: Tls, error: Exception, name: str, side: Side) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        said = say(
            "the certificate of {name} was not issued by {ca}: {reason}", name=name, ca=str(tls.ca), reason=reason
        )
        return fail("broker", said, side.fit)
    if isinstance(error, ssl.SSLError):
        said = say("the key and the certificate do not match: {reason}", reason=error.reason or str(error))
        return fail("broker", said, side.fit)
    if isinstance(error, OSError):
        where = str(error.filename or tls.cert)
        said = say("{path}: {reason}", path=where, reason=error.strerror or str(error))
        return fail("broker", said, side.files)
    return fail("broker", say("{reason}", reason=str(error)), side.files)


def own_certificate(tls: Tls) -> dict[str, Any]:
    """Our certificate as ssl gives it (`subject`, `notAfter` …), checked against key and authority but for its
    dates: in a handshake with ourselves, in memory. Raises OSError, of which ssl.SSLError is one.
    """
    asked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asked.check_hostname = False
    asked.verify_mode = ssl.CERT_NONE
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.verify_flags |= NO_CHECK_TIME
    asking.load_verify_locations(str(tls.ca))
    for context in (asked, asking):
        context.load_cert_chain(str(tls.cert), None if tls.key is None else str(tls.key))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = asked.wrap_bio(back, there), asking.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return server.getpeercert() or {}


def common_name(certificate: Mapping[str, Any]) -> str:
    return next((value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"), "")


def _connected(settings: Broker, side: Side) -> socket.socket:
    """Raises _Found."""
    where = f"{settings.host}:{settings.port}"
    try:
        return socket.create_connection((settings.host, settings.port), CONNECT_S)
    except socket.gaierror as error:
        lost = say("{host}: name not found", host=settings.host)
        raise _Found(fail("broker", lost, side.found)) from error
    except ConnectionRefusedError as error:
        raise _Found(fail("broker", say("{where}: nothing listens there", where=where), side.up)) from error
    except OSError as error:
        lost = say("{where}: {reason}", where=where, reason=error.strerror or "no answer in time")
        raise _Found(fail("broker", lost, side.reached)) from error


def _handshake(settings: Broker, tls: Tls, name: str, side: Side) -> Validity:
    """Of the broker's certificate. Raises _Found."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(str(tls.ca))
        if tls.cert is not None:
            context.load_cert_chain(str(tls.cert), None if tls.key is None else str(tls.key))
    except OSError as error:
        raise _Found(_unreadable(tls, error, name, side)) from error
    with _connected(settings, side) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=settings.host) as secure:
                found: dict[str, Any] = secure.getpeercert() or {}
                secure.settimeout(REFUSAL_S)
                try:
                    ended = secure.recv(1) == b""
                except TimeoutError:
                    ended = False
        except ssl.SSLCertVerificationError as error:
            raise _Found(fail("broker", _not_theirs(error), _of_theirs(error))) from error
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or str(error)
            raise _Found(_refused(reason, name, side)) from error
    if ended:
        raise _Found(_refused("connection closed", name, side))
    return validity(found)


def _refused(reason: str, name: str, side: Side) -> Finding:
    plain = reason.replace("_", " ").lower()
    return fail(
        "broker", say("the broker refuses the certificate of {name}: {reason}", name=name, reason=plain), side.reissue
    )


def _not_theirs(error: ssl.SSLCertVerificationError) -> Said:
    return say("the broker's certificate is not valid: {reason}", reason=error.verify_message)


def _of_theirs(error: ssl.SSLCertVerificationError) -> Said:
    if error.verify_code in {EXPIRED, NOT_YET}:
        return say("set this machine's clock first: timedatectl; if the clock is right, the operator must renew it")
    if error.verify_code in WRONG_NAME:
        return say("broker.host must be the name in the broker's certificate")
    return say("broker.tls.ca must be the broker's certificate authority; or another machine answers in its place")


def _day(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d}"
