"""The data budget (quota): bytes that each line has moved in each month, on disk before and after every test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from agent.net.counters import Counters, bytes_between, line_counters
from xomnet.runtime.atomic_file import set_aside, write_atomically
from xomnet.runtime.log import Log

log = Log("agent.schedule.quota.budget")

FILE = "ledger.json"
"""In state_dir."""
RESERVE_FACTOR = 1.10
"""Bytes that a line moves at most for each byte of payload: frames, acknowledgements, retransmissions."""
SAVE_BYTES = 200_000
"""Bytes that may be counted and not yet written: a power cut loses no more, and each boot is charged with them."""
MONTHS_KEPT = 14


class BudgetError(Exception):
    """The file can't be written. A test that can't be counted must not run."""


class _BudgetFile(msgspec.Struct, frozen=True):
    months: dict[str, dict[str, int]] = {}
    """`2026-11` -> line -> bytes."""
    done: dict[str, str] = {}
    """Line -> start of the last slot that had its test."""
    spent: list[str] = []
    """Months whose count was lost: no test of a line with a budget runs in them."""
    lost: bool = False
    """A count was lost, and the clock has not been synchronised since: the month is not known."""
    month: str = ""
    """The last month that a synchronised clock showed."""
    unsure: dict[str, int] = {}
    """Line -> bytes charged since then: they may belong to the next month as well."""
    reserved: dict[str, int] = {}
    """Line -> bytes that are reserved for the test that runs now."""
    boot: str = ""
    counters: Counters = {}
    """The last reading of the counters, and the boot that it is of."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The bytes of payload that a test may receive; 0 with the `reason` why it must not run."""

    max_bytes: int
    reason: str | None = None


def allowance(
    used: int, budget: int | None, wanted_bytes: int, peak: bool, reserved_tests: int, background_bytes: int = 0
) -> Allowance:
    """What a test of `wanted_bytes` of payload may receive, with `used` of the `budget` (None: no limit). Pure.

    `background_bytes` are what latency and messages still need this month. A test outside of the peak hours must also
    leave enough for `reserved_tests` that are still to come, so that peak tests are the last to be skipped.
    """
    if budget is None:
        return Allowance(wanted_bytes)
    cost = int(wanted_bytes * RESERVE_FACTOR)
    left = max(0, budget - used - background_bytes)
    if cost > left:
        return Allowance(0, f"{left} of {budget} bytes are left for tests this month, one may take {cost}")
    if not peak and left - cost < reserved_tests * cost:
        return Allowance(0, f"{left} bytes are left for tests this month, kept for {reserved_tests} of the schedule")
    return Allowance(wanted_bytes)


class DataBudget:
    """A small JSON file, replaced as a whole at each change.

    A damaged file is set aside and its month counts as spent; raises BudgetError if that can't be written.
    Bytes are charged to the last month that a synchronised clock showed. No other clock begins a month.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reset_detail: str | None = None
        self.unsaved_bytes = 0
        self._file = self._load()
        self._unfinished: dict[str, int] | None = self._file.reserved
        """Line -> bytes reserved for a test that never ended, until the first charge; None after it."""

    def _load(self) -> _BudgetFile:
        try:
            file = msgspec.json.decode(self._path.read_bytes(), type=_BudgetFile)
        except FileNotFoundError:
            return _BudgetFile()
        except (msgspec.DecodeError, OSError) as error:
            self.reset_detail = f"{error}; set aside as {set_aside(self._path).name}"
            log.error("damaged ledger set aside; no budgeted test until next month", reason=self.reset_detail)
            fresh = _BudgetFile(lost=True)
            self._write(fresh)  # a restart must not find an empty ledger and a month to spend
            return fresh
        return replace(file, month=file.month or max(file.months, default=""))  # version 0.1 wrote none

    def used_bytes(self, line: str) -> int:
        """Bytes of this month so far, reserved ones included. If the count was lost, more than any budget."""
        file = self._file
        if file.lost or file.month in file.spent:
            return 2**62
        return file.months.get(file.month, {}).get(line, 0) + file.reserved.get(line, 0)

    def charge_counters(
        self, month: str | None, boot: str, counters: Counters, lines: Mapping[str, str | None]
    ) -> dict[str, int | None]:
        """Charges each line the bytes that its port has moved since the last call.

        `month` is None while the clock is not synchronised; `lines` gives each line's interface. Returns the bytes of
        each line; None if they are not complete, because a port is gone or the unit was booted. The very first call
        charges nothing, the first of a boot all that the counters show. The charge is on disk after `save`.
        """
        file = self._file if month is None else enter_month(self._file, month)
        same_boot = boot == file.boot
        unfinished = dict(self._unfinished or {})
        charged: dict[str, int | None] = {}
        for line, interface in lines.items():
            before = line_counters(file.counters, interface) if same_boot else {}
            now = line_counters(counters, interface)
            bytes_ = 0
            if file.boot:
                bytes_ = bytes_between(before, now) + (0 if same_boot else SAVE_BYTES)
                file = charge(file, line, bytes_)
            self.unsaved_bytes += bytes_
            charged[line] = bytes_ if same_boot and before.keys() <= now.keys() else None
            if before and charged[line] is not None:
                unfinished.pop(line, None)  # its bytes have just been counted
        for line, bytes_ in unfinished.items():
            file = charge(file, line, bytes_)
        if self._unfinished is not None:
            file, self._unfinished = replace(file, reserved={}), None
        self._file = replace(file, boot=boot, counters=counters)
        return charged

    def reserve(self, line: str, bytes_: int) -> None:
        """Reserves the bytes of a test before it, so that a power cut errs on the safe side. Raises BudgetError."""
        self._replace(replace(self._file, reserved={**self._file.reserved, line: bytes_}))

    def settle(self, line: str, bytes_: int | None) -> None:
        """Charges what a test moved beyond the counters, and ends its reservation.

        `bytes_` None: not known, and all that was reserved is charged. Raises BudgetError if it can't be written; it
        is charged all the same.
        """
        reserved = {name: reserved for name, reserved in self._file.reserved.items() if name != line}
        bytes_ = self._file.reserved.get(line, 0) if bytes_ is None else bytes_
        self._file = charge(replace(self._file, reserved=reserved), line, bytes_)
        self.save()

    def last_done_slot(self, line: str) -> str | None:
        """The start of the last slot that had its test, ISO 8601; None before the first."""
        return self._file.done.get(line)

    def mark_done(self, line: str, slot_start: str) -> None:
        """Notes that a slot had its test. Raises BudgetError."""
        self._replace(replace(self._file, done={**self._file.done, line: slot_start}))

    def save(self) -> None:
        """Writes what was charged. Raises BudgetError."""
        self._replace(self._file)

    def _replace(self, file: _BudgetFile) -> None:
        self._write(file)
        self._file = file
        self.unsaved_bytes = 0

    def _write(self, file: _BudgetFile) -> None:
        try:
            write_atomically(self._path, msgspec.json.encode(file))
        except OSError as error:
            raise BudgetError(f"{self._path}: {error.strerror}; free some space or replace the card") from error


def open_budget(state_dir: Path) -> DataBudget:
    """The data budget of the unit whose files are in this folder. Raises BudgetError."""
    return DataBudget(state_dir / FILE)


def charge(file: _BudgetFile, line: str, bytes_: int) -> _BudgetFile:
    """The file after a charge of bytes to a line. Pure."""
    of_month = file.months.get(file.month, {})
    months = {**file.months, file.month: {**of_month, line: of_month.get(line, 0) + bytes_}}
    return replace(
        file,
        months={name: months[name] for name in sorted(months)[-MONTHS_KEPT:]},
        unsure={**file.unsure, line: file.unsure.get(line, 0) + bytes_},
    )


def enter_month(file: _BudgetFile, month: str) -> _BudgetFile:
    """The file after a synchronised clock has shown the month. Pure.

    A new month is also charged with what was charged since the clock last showed one. If the clock was set back, what
    was charged to months that are now in the future is charged to this one: it was moved in this one or before.
    """
    if file.lost:
        file = replace(file, lost=False, spent=[*file.spent, month])
    if month != file.month:
        extra = [file.unsure] if month > file.month else [of for name, of in file.months.items() if name > month]
        file = replace(file, month=month)
        for of_lines in extra:
            for line, bytes_ in of_lines.items():
                file = charge(file, line, bytes_)
    return replace(file, unsure={})
