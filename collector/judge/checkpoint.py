"""The checkpoint: each line's detector state and the time of its last result, in a file that outlives the process.

With the states the first update after a restart need not read weeks of history again. A state is valid only for the
program, rules and target that it was computed with, and only while no newer result of its line is stored: the reader
checks the store for that.

The time of the last result is always valid: it tells a silent line from a line without data, even after the database
has deleted all its results.
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

log = Log("collector.judge.checkpoint")


class Checkpoint(msgspec.Struct, frozen=True):
    """The detector's state of a line, as its history was read at an instant."""

    agent: str
    line: str
    at: Instant
    target_mbps: float
    state: DetectorState = msgspec.field(name="course")
    """Its name in the file is that of earlier versions."""

    @property
    def id(self) -> LineId:
        return LineId(self.agent, self.line)


class _CheckpointFile(msgspec.Struct):
    made_by: str
    courses: msgspec.Raw
    """Decoded only if this very program wrote it: another version may have other fields."""
    last_results: list[tuple[str, str, Instant]] = []
    """Agent, line and when it was last heard. Absent in files of earlier versions."""
    exclusions: int = 0
    """The version of the exclusions with which both were read."""


class CheckpointContent(NamedTuple):
    """What a file holds."""

    checkpoints: list[Checkpoint]
    last_results: dict[LineId, dt.datetime]
    exclusions: int = 0


def save(
    file: Path,
    checkpoints: Iterable[Checkpoint],
    last_results: Mapping[LineId, dt.datetime],
    rules: JudgingRules,
    exclusions: int = 0,
) -> None:
    """Replaces the file whole. Where the disk refuses, the log says so: the next start reads more, that is all."""
    raw = msgspec.Raw(msgspec.json.encode(list(checkpoints)))
    heard = [(*line, at) for line, at in last_results.items()]
    try:
        write_atomically(file, msgspec.json.encode(_CheckpointFile(_maker(rules), raw, heard, exclusions)))
    except OSError as error:
        log.warning("checkpoints not saved", file=str(file), reason=error.strerror)


def load(file: Path, rules: JudgingRules) -> CheckpointContent:
    """Empty where there is no file; without checkpoints if another program or other rules wrote it."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_CheckpointFile)
        mine = found.made_by == _maker(rules)
        checkpoints = msgspec.json.decode(found.courses, type=list[Checkpoint]) if mine else []
    except FileNotFoundError:
        return CheckpointContent([], {})
    except (OSError, msgspec.DecodeError) as error:
        log.warning("checkpoints not read", file=str(file), reason=str(error))
        return CheckpointContent([], {})
    last_results = {LineId(agent, line): at for agent, line, at in found.last_results}
    return CheckpointContent(checkpoints, last_results, found.exclusions)


def _maker(rules: JudgingRules) -> str:
    """Version, rules, and the very code that follows a line."""
    code = b"".join(
        Path(module.__file__ or "").read_bytes() for module in (assess, change_detector, confidence_interval)
    )
    return f"{__version__} {rules} {hashlib.sha256(code).hexdigest()}"
