"""The DNS messages that ask for the addresses of a name (RFC 1035, section 4). Pure."""

import socket
import struct
from dataclasses import dataclass

A, AAAA = 1, 28
"""Types of record: an IPv4 address, an IPv6 address."""
NO_ERROR, NO_SUCH_NAME = 0, 3
RCODES = {1: "FORMERR", 2: "SERVFAIL", NO_SUCH_NAME: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
MAX_NAME_BYTES = 253

_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")
_INTERNET = 1
_IS_ANSWER, _TRUNCATED, _RECURSION_DESIRED, _RCODE = 0x8000, 0x0200, 0x0100, 0x000F
_FAMILIES = {A: socket.AF_INET, AAAA: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class DnsAnswer:
    """`truncated`: the whole answer needs TCP. `addresses` as text, in the server's order."""

    rcode: int
    truncated: bool = False
    addresses: tuple[str, ...] = ()


def encode_name(host: str) -> bytes:
    """A host's name as DNS takes it. Raises ValueError if it can't be a name."""
    name = host.rstrip(".").encode("idna").lower()
    if not 0 < len(name) <= MAX_NAME_BYTES:
        raise ValueError(f"a name has 1 to {MAX_NAME_BYTES} letters")
    return name


def encode_question(number: int, name: bytes, kind: int) -> bytes:
    """The query, with `number` as its id, for a name's records of one type."""
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    header = _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack("!HH", kind, _INTERNET)


def parse_answer(message: bytes, question: bytes) -> DnsAnswer | None:
    """The answer to the question `question`; None where the message is something else, or damaged."""
    try:
        return _parse(message, question)
    except (struct.error, IndexError):
        return None


def _parse(message: bytes, question: bytes) -> DnsAnswer | None:
    _, flags, questions, records, _, _ = _HEADER.unpack_from(message)
    rcode = flags & _RCODE
    if not flags & _IS_ANSWER or message[:2] != question[:2]:
        return None
    if questions == 0 and rcode != NO_ERROR:  # a server that could not read the question need not repeat it
        return DnsAnswer(rcode)
    if message[_HEADER.size : len(question)].lower() != question[_HEADER.size :].lower():
        return None
    if flags & _TRUNCATED:
        return DnsAnswer(rcode, truncated=True)
    (wanted,) = struct.unpack("!H", question[-4:-2])
    addresses: list[str] = []
    at = len(question)
    for _ in range(records):
        at = _after_name(message, at)
        kind, class_, _, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size + length
        data = message[at - length : at]
        if len(data) < length:
            return None
        if (kind, class_, length) == (wanted, _INTERNET, 4 if wanted == A else 16):
            addresses.append(socket.inet_ntop(_FAMILIES[wanted], data))
    return DnsAnswer(rcode, addresses=tuple(addresses))


def _after_name(message: bytes, at: int) -> int:
    """The offset after a name, which is not decoded."""
    while (length := message[at]) != 0:
        if length >= 0xC0:  # a pointer to the rest of the name
            return at + 2
        at += 1 + length
    return at + 1
