"""The ledger of bytes: what each line has moved in each month, on disk, before and after every test."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec.structs import replace

from xomnet.log import Log

log = Log("agent.budget")

WIRE_FACTOR = 1.06
"""Headers, acknowledgements, retransmissions: what a line moves for each byte of payload."""
MONTHS_KEPT = 14


class LedgerError(Exception):
    """The ledger can't be written: a test that can't be counted must not run."""


class _File(msgspec.Struct, frozen=True):
    months: dict[str, dict[str, int]] = {}
    """`2026-11` -> line -> bytes."""
    done: dict[str, str] = {}
    """Line -> start of the last slot that had its test."""
    spent: list[str] = []
    """Months whose count was lost: no budgeted test runs in them."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Whether a test may run, and on how many bytes of payload."""

    max_bytes: int
    reason: str | None = None


def allow(used: int, budget: int | None, wanted: int, peak: bool, peak_left: int) -> Allowance:
    """What a test that wants `wanted` bytes of payload may move.

    An off-peak test must leave enough for the peak tests that are left in the month, so that those go last.
    """
    if budget is None:
        return Allowance(wanted)
    cost = int(wanted * WIRE_FACTOR)
    left = budget - used
    if cost > left:
        return Allowance(0, f"{left} of {budget} bytes are left this month, a test may take {cost}")
    if not peak and left - cost < peak_left * cost:
        return Allowance(0, f"{left} bytes are left this month, kept for {peak_left} tests in the peak hours")
    return Allowance(wanted)


class Ledger:
    """A small JSON file, replaced whole at each change; what could not be written does not count.

    A damaged one is set aside and its month counts as spent. Raises LedgerError where that can't be written down.
    """

    def __init__(self, path: Path, month: str) -> None:
        self._path = path
        self.reset_detail: str | None = None
        self._file = self._read(month)

    def _read(self, month: str) -> _File:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_File)
        except FileNotFoundError:
            return _File()
        except (msgspec.DecodeError, OSError) as error:
            aside = self._path.with_name(f"{self._path.name}.damaged-{os.urandom(4).hex()}")
            os.replace(self._path, aside)
            self.reset_detail = f"{error}; set aside as {aside.name}"
            log.error("damaged ledger set aside; no budgeted test until next month", reason=self.reset_detail)
            fresh = _File(spent=[month])
            self._write(fresh)  # a restart must not find an empty ledger and a month to spend
            return fresh

    def used(self, line: str, month: str) -> int:
        """Bytes of a month so far, with what is reserved. A month whose count was lost has no end of them."""
        if month in self._file.spent:
            return 2**62
        return self._file.months.get(month, {}).get(line, 0)

    def charge(self, line: str, month: str, bytes_: int) -> None:
        """Adds bytes; a negative number gives back what a reservation did not need. Raises LedgerError."""
        used = max(0, self._file.months.get(month, {}).get(line, 0) + bytes_)
        months = {**self._file.months, month: {**self._file.months.get(month, {}), line: used}}
        self._keep(replace(self._file, months={name: months[name] for name in sorted(months)[-MONTHS_KEPT:]}))

    def done_until(self, line: str) -> str | None:
        return self._file.done.get(line)

    def done(self, line: str, slot_start: str) -> None:
        """This slot had its test. Raises LedgerError."""
        self._keep(replace(self._file, done={**self._file.done, line: slot_start}))

    def _keep(self, file: _File) -> None:
        self._write(file)
        self._file = file

    def _write(self, ledger: _File) -> None:
        new = self._path.with_name(self._path.name + ".new")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(msgspec.json.encode(ledger))
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise LedgerError(f"{self._path}: {error.strerror}; free some space or mend the card") from error
