"""Where each line stood, in a file, so that the first look after a restart need not follow the province's weeks again.

It is good for what it was made of alone: the same program, rules and target, and a line of which nothing was stored
since. Who reads it asks the store for that.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from collector.judge import assess, change_detector
from collector.judge.assess import Rules
from collector.judge.change_detector import Course
from collector.store import LineId
from xomnet import __version__
from xomnet.contract.values import Instant
from xomnet.runtime.atomic_file import write_whole
from xomnet.runtime.log import Log

log = Log("collector.judge.line_states")


class KeptCourse(msgspec.Struct, frozen=True):
    """A line's course as it was read at an instant."""

    agent: str
    line: str
    at: Instant
    target_mbps: float
    course: Course

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)


class _File(msgspec.Struct):
    made_by: str
    courses: list[KeptCourse]


def keep(file: Path, courses: Iterable[KeptCourse], rules: Rules) -> None:
    """Replaces the file whole. Where the disk refuses, the log says so: the next start reads more, that is all."""
    try:
        write_whole(file, msgspec.json.encode(_File(_maker(rules), list(courses))))
    except OSError as error:
        log.warning("courses not kept", file=str(file), reason=error.strerror)


def kept(file: Path, rules: Rules) -> list[KeptCourse]:
    """None where there is no file, or one that another program or other rules made."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_File)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        log.warning("courses not read", file=str(file), reason=str(error))
        return []
    return found.courses if found.made_by == _maker(rules) else []


def _maker(rules: Rules) -> str:
    """Version, rules, and the very code that follows a line."""
    code = b"".join(Path(module.__file__ or "").read_bytes() for module in (assess, change_detector))
    return f"{__version__} {rules} {hashlib.sha256(code).hexdigest()}"
