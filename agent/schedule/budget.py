"""The ledger of bytes: what each line has moved in each month, on disk, before and after every test."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from agent.net.counters import Counters, moved, of_line
from xomnet.runtime.atomic_file import set_aside, write_atomically
from xomnet.runtime.log import Log

log = Log("agent.schedule.budget")

RESERVE_FACTOR = 1.10
"""The most that a line moves for each byte that a test may take: frames, acknowledgements, what is sent twice."""
SAVE_BYTES = 200_000
"""What may be counted and not yet written: a power cut loses no more, and each boot is charged with it."""
MONTHS_KEPT = 14


class BudgetError(Exception):
    """The ledger can't be written: a test that can't be counted must not run."""


class _BudgetFile(msgspec.Struct, frozen=True):
    months: dict[str, dict[str, int]] = {}
    """`2026-11` -> line -> bytes."""
    done: dict[str, str] = {}
    """Line -> start of the last slot that had its test."""
    spent: list[str] = []
    """Months whose count was lost: no budgeted test runs in them."""
    lost: bool = False
    """A count was lost, and the clock has not yet told of which month."""
    month: str = ""
    """The last one that a synchronised clock told."""
    unsure: dict[str, int] = {}
    """Line -> bytes charged since the clock told the month: they may belong to the next one as well."""
    reserved: dict[str, int] = {}
    """Line -> bytes of the test that runs now."""
    boot: str = ""
    counters: Counters = {}
    """The last reading, and the boot that it is of."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a test may run, and on how many bytes of payload."""

    max_bytes: int
    reason: str | None = None


def allow(used: int, budget: int | None, wanted: int, peak: bool, kept_tests: int, held_back: int = 0) -> Allowance:
    """What a test that wants `wanted` bytes of payload may move.

    `held_back` is what latency and messages still need. One that is not of the peak hours must also leave
    enough for `kept_tests` that are still to come, so that those go last.
    """
    if budget is None:
        return Allowance(wanted)
    cost = int(wanted * RESERVE_FACTOR)
    left = max(0, budget - used - held_back)
    if cost > left:
        return Allowance(0, f"{left} of {budget} bytes are left for tests this month, one may take {cost}")
    if not peak and left - cost < kept_tests * cost:
        return Allowance(0, f"{left} bytes are left for tests this month, kept for {kept_tests} of the schedule")
    return Allowance(wanted)


class DataBudget:
    """A small JSON file, replaced whole at each change.

    A damaged one is set aside and its month counts as spent. Raises BudgetError where that can't be written down.
    Bytes are charged to the month that a synchronised clock told last; no other clock opens a month.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reset_detail: str | None = None
        self.unsaved_bytes = 0
        self._file = self._read()
        self._cut_off: dict[str, int] | None = self._file.reserved
        """Tests that never came to their end, until the first look has charged them."""

    def _read(self) -> _BudgetFile:
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

    def used(self, line: str) -> int:
        """Bytes of this month so far, with what is reserved. A month whose count was lost has no end of them."""
        file = self._file
        if file.lost or file.month in file.spent:
            return 2**62
        return file.months.get(file.month, {}).get(line, 0) + file.reserved.get(line, 0)

    def look(
        self, month: str | None, boot: str, counters: Counters, lines: Mapping[str, str | None]
    ) -> dict[str, int | None]:
        """Charges each line (with its interface) what its ports have moved since the last look; returns that, or None
        where it is not all: a port is gone, or the unit was started anew.

        `month` is None while the clock is not synchronised. The first look of all charges nothing, the first of a boot
        all that its counters show. What is charged here is on disk only after `save`.
        """
        file = self._file if month is None else in_month(self._file, month)
        same_boot = boot == file.boot
        cut_off = dict(self._cut_off or {})
        found: dict[str, int | None] = {}
        for line, interface in lines.items():
            before = of_line(file.counters, interface) if same_boot else {}
            now = of_line(counters, interface)
            bytes_ = 0
            if file.boot:
                bytes_ = moved(before, now) + (0 if same_boot else SAVE_BYTES)
                file = charged(file, line, bytes_)
            self.unsaved_bytes += bytes_
            found[line] = bytes_ if same_boot and before.keys() <= now.keys() else None
            if before and found[line] is not None:
                cut_off.pop(line, None)  # its bytes have just been counted
        for line, bytes_ in cut_off.items():
            file = charged(file, line, bytes_)
        if self._cut_off is not None:
            file, self._cut_off = replace(file, reserved={}), None
        self._file = replace(file, boot=boot, counters=counters)
        return found

    def reserve(self, line: str, bytes_: int) -> None:
        """Before a test, so that a power cut in it errs on the safe side. Raises BudgetError."""
        self._keep(replace(self._file, reserved={**self._file.reserved, line: bytes_}))

    def settle(self, line: str, bytes_: int | None) -> None:
        """After a test: `bytes_` that no look has charged; None where nobody knows, then all that was reserved.

        Raises BudgetError where it can't be written; it counts all the same.
        """
        reserved = {name: reserved for name, reserved in self._file.reserved.items() if name != line}
        bytes_ = self._file.reserved.get(line, 0) if bytes_ is None else bytes_
        self._file = charged(replace(self._file, reserved=reserved), line, bytes_)
        self.save()

    def done_until(self, line: str) -> str | None:
        return self._file.done.get(line)

    def done(self, line: str, slot_start: str) -> None:
        """This slot had its test. Raises BudgetError."""
        self._keep(replace(self._file, done={**self._file.done, line: slot_start}))

    def save(self) -> None:
        """Raises BudgetError."""
        self._keep(self._file)

    def _keep(self, file: _BudgetFile) -> None:
        self._write(file)
        self._file = file
        self.unsaved_bytes = 0

    def _write(self, ledger: _BudgetFile) -> None:
        try:
            write_atomically(self._path, msgspec.json.encode(ledger))
        except OSError as error:
            raise BudgetError(f"{self._path}: {error.strerror}; free some space or replace the card") from error


def charged(file: _BudgetFile, line: str, bytes_: int) -> _BudgetFile:
    """The ledger with bytes more of a line."""
    of_month = file.months.get(file.month, {})
    months = {**file.months, file.month: {**of_month, line: of_month.get(line, 0) + bytes_}}
    return replace(
        file,
        months={name: months[name] for name in sorted(months)[-MONTHS_KEPT:]},
        unsure={**file.unsure, line: file.unsure.get(line, 0) + bytes_},
    )


def in_month(file: _BudgetFile, month: str) -> _BudgetFile:
    """The ledger as a synchronised clock tells the month.

    A month that begins takes over what was charged since the clock last told one. A clock set back takes nothing back:
    what was charged to months that are now to come was moved in this one, or before it.
    """
    if file.lost:
        file = replace(file, lost=False, spent=[*file.spent, month])
    if month != file.month:
        extra = [file.unsure] if month > file.month else [of for name, of in file.months.items() if name > month]
        file = replace(file, month=month)
        for of_lines in extra:
            for line, bytes_ in of_lines.items():
                file = charged(file, line, bytes_)
    return replace(file, unsure={})
