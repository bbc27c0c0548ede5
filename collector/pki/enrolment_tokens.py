"""One-time tokens: made by the operator for one unit, kept as a hash, spent on one certificate."""

import datetime as dt
import hashlib
import hmac
import secrets

from collector.pki.authority import Authority, check_name
from collector.pki.ledger import Entry, LedgerChange, Token
from collector.pki.requests import SigningRefused, check_key, key_id

BYTES = 24
"""192 bits: nobody guesses a token, so nobody is kept from trying."""
DAYS = 7
LONGEST_DAYS = 90


class WrongToken(Exception):
    """Wrong, over, spent, of another unit, or never made: who asks is not told which."""

    def __init__(self) -> None:
        super().__init__("the token is wrong, used or expired; ask the operator for a new token: xomnet pki token UNIT")


def make(authority: Authority, agent: str, now: dt.datetime, days: int = DAYS) -> str:
    """A token for a unit; any earlier token stops working. Raises SigningRefused or LedgerError."""
    check_name(agent, "unit")
    if not 1 <= days <= LONGEST_DAYS:
        raise SigningRefused(f"found {days} days; a token is valid for 1 to {LONGEST_DAYS} days")
    token = secrets.token_urlsafe(BYTES)
    with authority.ledger.change() as change:
        change.put_token(agent, Token(_hash(token), now + dt.timedelta(days=days), None))
    return token


def check(authority: Authority, agent: str, token: str, now: dt.datetime) -> None:
    """Raises WrongToken, or LedgerError. It may be spent: `spend` tells.

    It only reads, so that any number of wrong tokens keeps nobody waiting who has a right one.
    """
    with authority.ledger.read() as ledger:
        _matching_token(ledger, agent, token, now)


def spend(authority: Authority, agent: str, token: str, csr: bytes, now: dt.datetime) -> Entry:
    """The unit's certificate. A token is spent in the transaction that writes the certificate down.

    The same request again, while the token would last, gives the same certificate: the answer may have been lost on the
    way, and only who has the key can use it. Raises WrongToken, Refused (then the token is not spent) or LedgerError.
    """
    with authority.ledger.change() as change:
        known = _matching_token(change, agent, token, now)
        if known.serial is not None:
            before = change.of_serial(known.serial)
            if before is None or not before.good(now) or before.key != key_id(check_key(csr, agent)):
                raise WrongToken
            return before
        entry = authority.sign_within(change, csr, agent, "unit", now)
        change.put_token(agent, Token(known.hash, known.until, entry.serial))
    authority.publish(now)
    return entry


def _matching_token(change: LedgerChange, agent: str, token: str, now: dt.datetime) -> Token:
    known = change.token(agent)
    right = hmac.compare_digest(_hash(token), known.hash if known else "0" * 64)
    if known is None or not right or now >= known.until:
        raise WrongToken
    return known


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
