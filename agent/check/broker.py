"""The way to the broker: TLS, whose certificates are good until when, whether the broker takes this unit's.

No MQTT is spoken: the broker knows a unit by its certificate's name, and a second connection of that name would throw
out the service's own.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agent.check.finding import Finding, Said, fail, ok, say, warn
from xomnet.broker import Broker, SecretError, Tls, check_private

CONNECT_S = 8.0
REFUSAL_S = 1.0
"""With TLS 1.3 a broker that does not take our certificate says so after the handshake."""
SOON = 0.2
"""Of a certificate's life: it is renewed when a third is left, so renewing has failed for a while."""
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: dates are compared here, where both can be told."""
EXPIRED, NOT_YET = 10, 9
WRONG_NAME = {62, 64}
RENEW = say("systemctl start xomnet-renew; else the operator renews it")
CLOCK = say("the unit's clock first: timedatectl")


class _Found(Exception):
    """What ends the check; carries its row."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding


def broker(settings: Broker, agent: str) -> Finding:
    """Everything up to MQTT itself."""
    try:
        if settings.tls is None:
            _connected(settings).close()
            open_to_all = say("answers, without TLS")
            return warn("broker", open_to_all, say("results go in the open: write broker.tls in agent.yaml"))
        own = _own(settings.tls, agent)
        theirs = _handshake(settings, settings.tls)
    except _Found as found:
        return found.finding
    said = (say("TLS"),) if own is None else (say("TLS, certificate valid until {day}", day=_day(own.ends)),)
    if own is not None and own.ends_soon:
        return warn("broker", (*said, say("the unit's certificate ends soon")), RENEW)
    if theirs.ends_soon:
        return warn(
            "broker", (*said, say("the broker's ends on {day}", day=_day(theirs.ends))), say("tell the operator")
        )
    return ok("broker", *said)


@dataclass(frozen=True, slots=True)
class Validity:
    """Seconds of 1970."""

    begins: float
    ends: float

    @property
    def ends_soon(self) -> bool:
        return self.ends - time.time() < SOON * (self.ends - self.begins)


def validity(certificate: Mapping[str, Any]) -> Validity:
    """Of a certificate as ssl gives it."""
    return Validity(*(float(ssl.cert_time_to_seconds(certificate[key])) for key in ("notBefore", "notAfter")))


def _own(tls: Tls, agent: str) -> Validity | None:
    """Of the unit's own certificate; None where it has none. Raises _Found."""
    if tls.cert is None:
        return None
    try:
        if tls.key is not None:
            check_private(tls.key)
        found = own_certificate(tls)
    except (SecretError, OSError) as error:  # SSLError is one
        raise _Found(fail("broker", _unreadable(tls, error), _how(error))) from error
    name = common_name(found)
    if name != agent:
        other = say("the certificate is of {name}, agent.yaml says {agent}", name=name, agent=agent)
        raise _Found(fail("broker", other, say("the key and certificate of this unit, or its name in agent.yaml")))
    valid = validity(found)
    if time.time() < valid.begins:
        raise _Found(fail("broker", say("the unit's certificate begins on {day}", day=_day(valid.begins)), CLOCK))
    if time.time() > valid.ends:
        raise _Found(fail("broker", say("the unit's certificate ended on {day}", day=_day(valid.ends)), RENEW))
    return valid


def _unreadable(tls: Tls, error: Exception) -> Said:
    if isinstance(error, ssl.SSLCertVerificationError):
        return say("the unit's certificate is not of {ca}: {reason}", ca=str(tls.ca), reason=error.verify_message)
    if isinstance(error, ssl.SSLError):
        return say("key and certificate do not fit: {reason}", reason=error.reason or str(error))
    if isinstance(error, OSError):
        return say("{path}: {reason}", path=str(error.filename or tls.cert), reason=error.strerror or str(error))
    return say("{reason}", reason=str(error))


def _how(error: Exception) -> Said:
    if isinstance(error, ssl.SSLError):
        return say("the key and certificate of this unit, as enrolment made them")
    return say("enrolled? paths of broker.tls in agent.yaml; key: owner xomnet, mode 600")


def own_certificate(tls: Tls) -> dict[str, Any]:
    """The unit's certificate as ssl gives it (`subject`, `notAfter` …), checked against key and authority but for its
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


def _connected(settings: Broker) -> socket.socket:
    """Raises _Found."""
    where = f"{settings.host}:{settings.port}"
    try:
        return socket.create_connection((settings.host, settings.port), CONNECT_S)
    except socket.gaierror as error:
        lost = say("{host}: the name is not found", host=settings.host)
        raise _Found(fail("broker", lost, say("broker.host in agent.yaml; is any line online? DNS"))) from error
    except ConnectionRefusedError as error:
        lost = say("{where}: nobody listens there", where=where)
        raise _Found(
            fail("broker", lost, say("broker.port in agent.yaml; is the broker up? tell the operator"))
        ) from error
    except OSError as error:
        lost = say("{where}: {reason}", where=where, reason=error.strerror or "no answer in time")
        raise _Found(fail("broker", lost, say("is any line online? does a firewall close the port?"))) from error


def _handshake(settings: Broker, tls: Tls) -> Validity:
    """Of the broker's certificate. Raises _Found."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(str(tls.ca))
        if tls.cert is not None:
            context.load_cert_chain(str(tls.cert), None if tls.key is None else str(tls.key))
    except OSError as error:
        raise _Found(fail("broker", _unreadable(tls, error), _how(error))) from error
    with _connected(settings) as plain:
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
            raise _Found(_refused(getattr(error, "reason", None) or error.strerror or str(error))) from error
    if ended:
        raise _Found(_refused("connection closed"))
    return validity(found)


def _refused(reason: str) -> Finding:
    words = say("the broker refuses this unit's certificate: {reason}", reason=reason.replace("_", " ").lower())
    return fail("broker", words, say("revoked, or of another authority: tell the operator, who enrols the unit anew"))


def _not_theirs(error: ssl.SSLCertVerificationError) -> Said:
    return say("the broker's certificate is not good: {reason}", reason=error.verify_message)


def _of_theirs(error: ssl.SSLCertVerificationError) -> Said:
    if error.verify_code in {EXPIRED, NOT_YET}:
        return say("the unit's clock first: timedatectl; then the operator renews it")
    if error.verify_code in WRONG_NAME:
        return say("broker.host must be the name in the broker's certificate")
    return say("broker.tls.ca must be the authority of the broker; another machine may answer in its place")


def _day(when: float) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d}"
