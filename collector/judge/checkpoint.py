"""Where each line stood and when it was last heard, in a file that outlives the process.

Where a line stood saves the first look after a restart from following the province's weeks again. That is good for
what it was made of alone: the same program, rules and target, and a line of which nothing was stored since. Who reads
it asks the store for that.

When a line was last heard is good for ever: it tells a line that fell silent from a line without data, also when the
database has let go of all its results.
"""

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from collector.judge import assess, change_detector, confidence_interval
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
    courses: msgspec.Raw
    """Read where this very program made it: another version may know other courses."""
    last_results: list[tuple[str, str, Instant]] = []
    """Agent, line and when it was last heard. Absent in files of earlier versions."""


class CheckpointContent(NamedTuple):
    """What a file holds."""

    courses: list[Checkpoint]
    last_results: dict[LineId, dt.datetime]


def save(
    file: Path, courses: Iterable[Checkpoint], last_results: Mapping[LineId, dt.datetime], rules: JudgingRules
) -> None:
    """Replaces the file whole. Where the disk refuses, the log says so: the next start reads more, that is all."""
    raw = msgspec.Raw(msgspec.json.encode(list(courses)))
    heard = [(*line, at) for line, at in last_results.items()]
    try:
        write_atomically(file, msgspec.json.encode(_CheckpointFile(_maker(rules), raw, heard)))
    except OSError as error:
        log.warning("courses not kept", file=str(file), reason=error.strerror)


def load(file: Path, rules: JudgingRules) -> CheckpointContent:
    """Empty where there is no file; without courses where another program or other rules made it."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_CheckpointFile)
        mine = found.made_by == _maker(rules)
        courses = msgspec.json.decode(found.courses, type=list[Checkpoint]) if mine else []
    except FileNotFoundError:
        return CheckpointContent([], {})
    except (OSError, msgspec.DecodeError) as error:
        log.warning("courses not read", file=str(file), reason=str(error))
        return CheckpointContent([], {})
    return CheckpointContent(courses, {LineId(agent, line): at for agent, line, at in found.last_results})


def _maker(rules: JudgingRules) -> str:
    """Version, rules, and the very code that follows a line."""
    code = b"".join(
        Path(module.__file__ or "").read_bytes() for module in (assess, change_detector, confidence_interval)
    )
    return f"{__version__} {rules} {hashlib.sha256(code).hexdigest()}"
