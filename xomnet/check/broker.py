"""Check of the connection to the broker: TCP, TLS, the validity of both certificates, whether the broker accepts ours.

It speaks no MQTT: the broker identifies clients by the certificate's name, and a second connection of that name would
end the service's own.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from xomnet.check.finding import Finding, Sentence, fail, ok, say, warn
from xomnet.mqtt.broker import Broker, Tls
from xomnet.runtime.secrets import SecretError, check_private

CONNECT_S = 8.0
REFUSAL_S = 1.0
"""With TLS 1.3 a broker that refuses our certificate says so after the handshake."""
SOON = 0.2
"""Share of a certificate's life: it is renewed when a third is left, so renewal has failed for a while."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: dates are compared here, to tell an early one from a late one."""
EXPIRED, NOT_YET = 10, 9
WRONG_NAME = {62, 64}
CLOCK = say("set this machine's clock first: timedatectl")


@dataclass(frozen=True, slots=True)
class BrokerRemedies:
    """The remedies that fit whoever runs the check, a unit or the collector; `file` is its settings file."""

    file: str
    wrong_name: Sentence
    """Our certificate belongs to somebody else."""
    unreadable: Sentence
    """Certificate or key is missing, or open to other users."""
    mismatch: Sentence
    """Certificate, key and authority do not fit together."""
    own_expires: Sentence
    """Our certificate has expired, or expires soon."""
    refused: Sentence
    """The broker refuses our certificate."""
    not_listening: Sentence
    """Nothing listens at the broker's port."""
    unknown_host: Sentence
    """The broker's name is not found."""
    no_answer: Sentence
    """The broker does not answer."""
    broker_expires: Sentence
    """The broker's certificate expires soon."""


class _CheckEnded(Exception):
    """Ends the check; carries its finding."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def check_broker(settings: Broker, name: str, remedies: BrokerRemedies, now: datetime) -> Finding:
    """Checks everything up to MQTT itself, at `now`; `name` must be the name in our certificate."""
    try:
        if settings.tls is None:
            _connect(settings, remedies).close()
            open_to_all = say("answers, without TLS")
            return warn(
                "broker",
                open_to_all,
                say("results are sent without encryption: set broker.tls in {file}", file=remedies.file),
            )
        own = _check_own(settings.tls, name, remedies, now)
        theirs = _handshake(settings, settings.tls, name, remedies)
    except _CheckEnded as found:
        return found.finding
    said = (say("TLS"),) if own is None else (say("TLS, certificate valid until {day}", day=_day(own.ends)),)
    if own is not None and own.ends_soon(now):
        return warn("broker", (*said, say("the certificate of {name} expires soon", name=name)), remedies.own_expires)
    if theirs.ends_soon(now):
        return warn(
            "broker",
            (*said, say("the broker's certificate expires on {day}", day=_day(theirs.ends))),
            remedies.broker_expires,
        )
    return ok("broker", *said)


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when a certificate is valid, in seconds since 1970."""

    begins: float
    ends: float

    def ends_soon(self, now: datetime) -> bool:
        return self.ends - now.timestamp() < SOON * (self.ends - self.begins)


def validity(certificate: Mapping[str, Any]) -> Validity:
    """The validity of a certificate as ssl gives it."""
    return Validity(*(float(ssl.cert_time_to_seconds(certificate[key])) for key in ("notBefore", "notAfter")))


def _check_own(tls: Tls, name: str, remedies: BrokerRemedies, now: datetime) -> Validity | None:
    """The validity of our certificate; None if there is none. Raises _CheckEnded."""
    if tls.cert is None:
        return None
    try:
        if tls.key is not None:
            check_private(tls.key)
        found = own_certificate(tls)
    except (SecretError, OSError) as error:  # SSLError is one
        raise _CheckEnded(_unreadable(tls, error, name, remedies)) from error
    if (other := common_name(found)) != name:
        raise _CheckEnded(
            fail(
                "broker",
                say("the certificate belongs to {other}, not to {name}", other=other, name=name),
                remedies.wrong_name,
            )
        )
    valid = validity(found)
    if now.timestamp() < valid.begins:
        early = say("the certificate of {name} is not valid before {day}", name=name, day=_day(valid.begins))
        raise _CheckEnded(fail("broker", early, CLOCK))
    if now.timestamp() > valid.ends:
        late = say("the certificate of {name} expired on {day}", name=name, day=_day(valid.ends))
        raise _CheckEnded(fail("broker", late, remedies.own_expires))
    return valid


def _unreadable(tls: Tls, error: Exception, name: str, remedies: BrokerRemedies) -> Finding:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
        said = say(
            "the certificate of {name} was not issued by {ca}: {reason}", name=name, ca=str(tls.ca), reason=reason
        )
        return fail("broker", said, remedies.mismatch)
    if isinstance(error, ssl.SSLError):
        said = say("the key and the certificate do not match: {reason}", reason=error.reason or str(error))
        return fail("broker", said, remedies.mismatch)
    if isinstance(error, OSError):
        where = str(error.filename or tls.cert)
        said = say("{path}: {reason}", path=where, reason=error.strerror or str(error))
        return fail("broker", said, remedies.unreadable)
    return fail("broker", say("{reason}", reason=str(error)), remedies.unreadable)


def own_certificate(tls: Tls) -> dict[str, Any]:
    """Our certificate as ssl gives it (`subject`, `notAfter` …), checked against key and authority, but not its dates.

    The check is a handshake with ourselves, in memory. Raises OSError, of which ssl.SSLError is a child.
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
    """The common name of a certificate as ssl gives it; empty if it has none."""
    return next((value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"), "")


def _connect(settings: Broker, remedies: BrokerRemedies) -> socket.socket:
    """A TCP connection to the broker. Raises _CheckEnded."""
    where = f"{settings.host}:{settings.port}"
    try:
        return socket.create_connection((settings.host, settings.port), CONNECT_S)
    except socket.gaierror as error:
        lost = say("{host}: name not found", host=settings.host)
        raise _CheckEnded(fail("broker", lost, remedies.unknown_host)) from error
    except ConnectionRefusedError as error:
        raise _CheckEnded(
            fail("broker", say("{where}: nothing listens there", where=where), remedies.not_listening)
        ) from error
    except OSError as error:
        lost = say("{where}: {reason}", where=where, reason=error.strerror or "no answer in time")
        raise _CheckEnded(fail("broker", lost, remedies.no_answer)) from error


def _handshake(settings: Broker, tls: Tls, name: str, remedies: BrokerRemedies) -> Validity:
    """The validity of the broker's certificate, after a TLS handshake. Raises _CheckEnded."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(str(tls.ca))
        if tls.cert is not None:
            context.load_cert_chain(str(tls.cert), None if tls.key is None else str(tls.key))
    except OSError as error:
        raise _CheckEnded(_unreadable(tls, error, name, remedies)) from error
    with _connect(settings, remedies) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=settings.host) as secure:
                found: dict[str, Any] = secure.getpeercert() or {}
                secure.settimeout(REFUSAL_S)
                try:
                    ended = secure.recv(1) == b""
                except TimeoutError:
                    ended = False
        except ssl.SSLCertVerificationError as error:
            raise _CheckEnded(
                fail("broker", _server_certificate_problem(error), _server_certificate_remedy(error))
            ) from error
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or str(error)
            raise _CheckEnded(_refusal(reason, name, remedies)) from error
    if ended:
        raise _CheckEnded(_refusal("connection closed", name, remedies))
    return validity(found)


def _refusal(reason: str, name: str, remedies: BrokerRemedies) -> Finding:
    plain = reason.replace("_", " ").lower()
    return fail(
        "broker",
        say("the broker refuses the certificate of {name}: {reason}", name=name, reason=plain),
        remedies.refused,
    )


def _server_certificate_problem(error: ssl.SSLCertVerificationError) -> Sentence:
    return say("the broker's certificate is not valid: {reason}", reason=error.verify_message)


def _server_certificate_remedy(error: ssl.SSLCertVerificationError) -> Sentence:
    if error.verify_code in {EXPIRED, NOT_YET}:
        return say("set this machine's clock first: timedatectl; if the clock is right, the operator must renew it")
    if error.verify_code in WRONG_NAME:
        return say("broker.host must be the name in the broker's certificate")
    return say("broker.tls.ca must be the broker's certificate authority; or another machine answers in its place")


def _day(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d}"
