"""Where each line stood, in a file, so that the first look after a restart need not follow the province's weeks again.

It is good for what it was made of alone: the same program, rules and target, and a line of which nothing was stored
since. Who reads it asks the store for that.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from collector.judge import assess, change_detector
from collector.judge.assess import JudgingRules
from collector.judge.change_detector import DetectorState
from collector.store.line_id import LineId
from xomnet import __version__
from xomnet.contract.values import Instant
from xomnet.runtime.atomic_file import write_atomically
from xomnet.runtime.log import Log

log = Log("collector.judge.line_states")


class Checkpoint(msgspec.Struct, frozen=True):
    """A line's course as it was read at an instant."""

    agent: str
    line: str
    at: Instant
    target_mbps: float
    course: DetectorState

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)


class _CheckpointFile(msgspec.Struct):
    made_by: str
    courses: list[Checkpoint]


def save(file: Path, courses: Iterable[Checkpoint], rules: JudgingRules) -> None:
    """Replaces the file whole. Where the disk refuses, the log says so: the next start reads more, that is all."""
    try:
        write_atomically(file, msgspec.json.encode(_CheckpointFile(_maker(rules), list(courses))))
    except OSError as error:
        log.warning("courses not kept", file=str(file), reason=error.strerror)


def load(file: Path, rules: JudgingRules) -> list[Checkpoint]:
    """None where there is no file, or one that another program or other rules made."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_CheckpointFile)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        log.warning("courses not read", file=str(file), reason=str(error))
        return []
    return found.courses if found.made_by == _maker(rules) else []


def _maker(rules: JudgingRules) -> str:
    """Version, rules, and the very code that follows a line."""
    code = b"".join(Path(module.__file__ or "").read_bytes() for module in (assess, change_detector))
    return f"{__version__} {rules} {hashlib.sha256(code).hexdigest()}"
