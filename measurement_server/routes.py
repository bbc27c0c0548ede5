"""Which path is what: LibreSpeed's, Speedtest Mini's and the configuration that speedtest-cli asks for."""

import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import parse_qs, urlsplit

MIB = 2**20
DEFAULT_CHUNKS = 4
MAX_CHUNKS = 1024

RANDOM_JPG_BYTES = {
    350: 245_388,
    500: 505_544,
    750: 1_118_012,
    1000: 1_986_284,
    1500: 4_468_241,
    2000: 7_907_740,
    2500: 12_407_926,
    3000: 17_816_816,
    3500: 24_262_167,
    4000: 31_625_365,
}
"""The lengths of the files that Speedtest Mini came with."""

KNOWN_PATHS = (
    "garbage.php?ckSize=N, empty.php and getIP.php, each also under backend/; "
    "speedtest/latency.txt, speedtest/randomSxS.jpg with S one of "
    + ", ".join(map(str, RANDOM_JPG_BYTES))
    + ", speedtest/upload.php; speedtest-config.php, speedtest-servers-static.php, speedtest-servers.php"
)

_CHUNKS = re.compile(r"0*([1-9][0-9]{0,8})", re.ASCII)
_RANDOM_JPG = re.compile(r"/speedtest/random([0-9]{3,4})x\1\.jpg", re.ASCII)


class AnswerKind(Enum):
    """What a path answers with."""

    INDEX = "what this server is, and that it is a Speedtest Mini"
    PAYLOAD = "incompressible bytes"
    EMPTY = "nothing, swallowing what was sent"
    ADDRESS = "the client's address"
    LATENCY = "Mini's latency file"
    SIZE = "how many bytes were sent"
    CONFIG = "speedtest-cli's configuration"
    SERVERS = "speedtest-cli's list of servers: this one"


_ANSWERS = {
    "/": AnswerKind.INDEX,
    "/empty.php": AnswerKind.EMPTY,
    "/getIP.php": AnswerKind.ADDRESS,
    "/backend/empty.php": AnswerKind.EMPTY,
    "/backend/getIP.php": AnswerKind.ADDRESS,
    "/speedtest/latency.txt": AnswerKind.LATENCY,
    "/speedtest/upload.php": AnswerKind.SIZE,
    "/speedtest-config.php": AnswerKind.CONFIG,
    "/speedtest-servers-static.php": AnswerKind.SERVERS,
    "/speedtest-servers.php": AnswerKind.SERVERS,
}


@dataclass(frozen=True)
class Route:
    answer: AnswerKind
    cors: bool
    """LibreSpeed's clients on another origin ask for the headers that let them in."""
    payload_bytes: int = 0

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods that the path takes."""
        uploads = ("POST",) if self.answer in (AnswerKind.EMPTY, AnswerKind.SIZE) else ()
        return ("GET", "HEAD", "OPTIONS", *uploads)


class UnknownPathError(Exception):
    """Not one of ours."""


class BadRequestError(Exception):
    """A value that can't be used; the text says what is allowed."""


def find_route(target: str) -> Route:
    """The route of a request target: a path, or a whole URL as a proxy gets it, of whatever host.

    The host is never looked at and never asked: only this server answers. Raises UnknownPathError, BadRequestError.
    """
    try:
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True, max_num_fields=16)
    except ValueError as error:
        raise BadRequestError("the address can't be read; allowed: a path with at most 16 query values") from error
    path = re.sub("/+", "/", parts.path) or "/"
    cors = "cors" in query
    if path in ("/garbage.php", "/backend/garbage.php"):
        return Route(AnswerKind.PAYLOAD, cors, _chunks(query) * MIB)
    if jpg := _RANDOM_JPG.fullmatch(path):
        size = RANDOM_JPG_BYTES.get(int(jpg[1]))
        if size:
            return Route(AnswerKind.PAYLOAD, cors, size)
    if path not in _ANSWERS:
        raise UnknownPathError(path)
    return Route(_ANSWERS[path], cors)


def _chunks(query: dict[str, list[str]]) -> int:
    """MiB to send. Above the maximum means the maximum, as in LibreSpeed; what is no number is refused."""
    if "ckSize" not in query:
        return DEFAULT_CHUNKS
    match = _CHUNKS.fullmatch(query["ckSize"][-1])
    if not match:
        raise BadRequestError(f"ckSize: allowed: a whole number of MiB from 1 to {MAX_CHUNKS}")
    return min(int(match[1]), MAX_CHUNKS)
