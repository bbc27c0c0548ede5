"""Structured logs: one event a line, `key=value`, on standard error for journald.

Whoever can make a program log can't fill its disk: each place in the code has a number of lines a minute, and what is
left out is counted.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]

MAX_A_MINUTE, MAX_INFO_A_MINUTE = 10, 100
"""Lines of one place in the code: warnings and errors; everything else."""
PERIOD_S = 60.0
LONGEST_VALUE = 2_000

_PLAIN = re.compile(r"^[^\s\"=]+$")


def setup(level: Level = "info") -> None:
    """Sends every log line to standard error."""
    handler = LimitedHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def set_level(level: Level) -> None:
    """Sets the level of the log from now on."""
    logging.getLogger().setLevel(level.upper())


@dataclass(slots=True)
class _Period:
    """The lines of one place since `began_s`."""

    began_s: float
    last: logging.LogRecord
    lines: int = 0

    @property
    def left_out(self) -> int:
        return max(0, self.lines - _max_lines(self.last))

    def summary(self) -> logging.LogRecord:
        """A line that stands for those that were left out."""
        left_out = {"like": self.last.getMessage(), "left_out": self.left_out}
        of = {name: getattr(self.last, name) for name in ("name", "levelno", "levelname")}
        return logging.makeLogRecord({**of, "msg": "more like this were left out", "fields": left_out})


def _max_lines(record: logging.LogRecord) -> int:
    return MAX_A_MINUTE if record.levelno >= logging.WARNING else MAX_INFO_A_MINUTE


class LimitedHandler(logging.StreamHandler[TextIO]):
    """Writes some lines a minute of each place in the code. How many more there were is said with the first line that
    comes after the minute, wherever it comes from, and at the end.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._periods: dict[tuple[str, int, int], _Period] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now_s = time.monotonic()
        for summary in self._end_periods(now_s - PERIOD_S):
            super().emit(summary)
        period = self._periods.setdefault((record.pathname, record.lineno, record.levelno), _Period(now_s, record))
        period.last, period.lines = record, period.lines + 1
        if not period.left_out:
            super().emit(record)

    def close(self) -> None:
        for summary in self._end_periods(time.monotonic()):
            super().emit(summary)
        super().close()

    def _end_periods(self, before_s: float) -> Iterator[logging.LogRecord]:
        for place, period in list(self._periods.items()):
            if period.began_s <= before_s:
                del self._periods[place]
                if period.left_out:
                    yield period.summary()


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        line = " ".join(f"{key}={_format_value(value)}" for key, value in fields.items() if value is not None)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _format_value(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)[:LONGEST_VALUE]
    return text if _PLAIN.match(text) else json.dumps(text, ensure_ascii=False)


class Log:
    """A logger whose events carry named fields: `log.info("stored", agent=…, results=…)`."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        self._logger.debug(event, extra={"fields": fields}, stacklevel=2)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields}, stacklevel=2)

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields}, stacklevel=2)

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error(event, extra={"fields": fields}, stacklevel=2)

    def exception(self, event: str, **fields: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._logger.exception(event, extra={"fields": fields}, stacklevel=2)
