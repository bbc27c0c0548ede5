"""The spool's file: its tables and their migration, and what happens if it is damaged, torn, or on another machine.

A card may lose its last commits with the power, though it confirmed them. Numbers of such results may have been
published. So the first commit of each boot skips a random stretch of numbers, and no number is given twice.
"""

import hashlib
import os
import secrets
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from agent.delivery.spool_rows import SpoolRow, checksum
from xomnet.runtime.atomic_file import put_in_place
from xomnet.runtime.log import Log

log = Log("agent.delivery.spool_file")

VERSION = 1
"""`PRAGMA user_version`; 0 is the file of xomnet 0.1."""
PAGE_BYTES = 1024
"""A commit writes whole pages, and a result is smaller than one."""
SKIPPED_SEQS = (2**16, 2**32)
"""How many numbers a new boot skips, at random between the two: more than a card can lose, and too many for an old copy
of this spool to reach the same numbers by chance.
"""
MAX_SEQ = 2**52

_RESULTS = """
CREATE TABLE results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    line TEXT,
    boot TEXT NOT NULL,
    boot_ns INTEGER NOT NULL,
    wall_us INTEGER NOT NULL,
    clock TEXT,
    at_error_s REAL,
    data BLOB NOT NULL,
    spool TEXT,
    not_before_us INTEGER,
    sum INTEGER
);
"""
_UNREPORTED = "CREATE TABLE untold (seq INTEGER PRIMARY KEY, line TEXT);"
"""Results that no receipt has counted yet."""
_NEW = f"""
BEGIN;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
{_RESULTS}{_UNREPORTED}
PRAGMA user_version = {VERSION};
COMMIT;
"""
_FROM_0 = f"""
BEGIN;
ALTER TABLE results ADD COLUMN spool TEXT;
ALTER TABLE results ADD COLUMN not_before_us INTEGER;
ALTER TABLE results ADD COLUMN sum INTEGER;
UPDATE results SET spool = (SELECT value FROM meta WHERE key = 'spool');
UPDATE results SET sum = sum_of(seq, {", ".join(SpoolRow._fields)});
{_UNREPORTED}
INSERT INTO meta SELECT 'told', CAST(coalesce(max(seq), 0) AS TEXT) FROM sqlite_sequence WHERE name = 'results';
PRAGMA user_version = {VERSION};
COMMIT;
"""  # noqa: S608
_COLUMNS = {
    "meta": "key value",
    "results": "seq kind line boot boot_ns wall_us clock at_error_s data spool not_before_us sum",
    "untold": "seq line",
}
_NOT_DAMAGE = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
}

SERIALS = (Path("/sys/firmware/devicetree/base/serial-number"), Path("/etc/machine-id"))


class SpoolError(Exception):
    """The disk refuses (full, read-only, broken); nothing was promised."""


def disk_error(path: Path, error: Exception) -> SpoolError:
    """The disk's refusal, with what to do."""
    return SpoolError(f"{path}: {error}; free some space or replace the card, and check that the folder is writable")


def is_damage(error: sqlite3.Error) -> bool:
    """True if the file itself is broken; False for a disk that is full or refuses, and for a closed database."""
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return True
    return code is None or code & 0xFF not in _NOT_DAMAGE


def machine_id(serials: tuple[Path, ...] = SERIALS) -> str | None:
    """A hash that identifies this machine: of the board's serial number, else of the system's id, which is copied with
    the card. None if there is neither.
    """
    for path in serials:
        with suppress(OSError):
            if text := path.read_bytes().strip(b"\0\n "):
                return f"{path.name}:{hashlib.sha256(text).hexdigest()[:16]}"
    return None


def open_database(path: Path, boot: UUID, machine_: str | None) -> tuple[sqlite3.Connection, str | None]:
    """The spool's database, and where a damaged one was set aside. Raises SpoolError if none can be made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = None
    try:
        if not path.exists() and not Path(f"{path}-wal").exists():
            _create(path, boot, machine_)
        try:
            return _connect(path), None
        except sqlite3.Error as damage:
            if not is_damage(damage):
                raise
            aside = set_aside(path, str(damage))
            _create(path, boot, machine_)
            return _connect(path), aside
    except (sqlite3.Error, OSError) as error:
        raise disk_error(path, error) from error


def set_aside(path: Path, reason: str) -> str:
    """Moves a damaged file and its WAL away; returns the reason and the new name. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{os.urandom(4).hex()}")
    for suffix in ("", "-wal", "-shm"):
        if (old := Path(f"{path}{suffix}")).exists():
            os.replace(old, f"{aside}{suffix}")
    log.error("damaged spool set aside", spool=str(path), aside=str(aside), reason=reason)
    return f"{reason}; set aside as {aside.name}"


def _create(path: Path, boot: UUID, machine_: str | None) -> None:
    """Makes the file under another name first, so that a file without tables or bytes is always a damaged one."""
    new = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{new}{suffix}").unlink(missing_ok=True)
    db = sqlite3.connect(new, timeout=5)
    try:
        new.chmod(0o600)
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_NEW)
        db.execute("PRAGMA journal_mode=WAL")
        with db:
            for key, value in (("spool", str(uuid4())), ("boot", str(boot)), ("machine", machine_)):
                set_meta(db, key, value)
    finally:
        db.close()
    put_in_place(new, path)


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists() or not path.stat().st_size:
        raise sqlite3.DatabaseError("the file is gone or empty, its WAL is not")
    db = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        db.text_factory = lambda raw: raw.decode(errors="replace")  # a flipped bit must not raise; the sum tells
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cell_size_check=ON")
        check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(f"quick_check: {check}")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            db.create_function("sum_of", -1, checksum)
            db.executescript(_FROM_0)
        _check_schema(db)
    except BaseException:
        db.close()
        raise
    return db


def _check_schema(db: sqlite3.Connection) -> None:
    """Raises DatabaseError if tables, numbers or the id are not as we write them: readers rely on them."""
    for table, columns in _COLUMNS.items():
        found = " ".join(row["name"] for row in db.execute(f"PRAGMA table_info({table})"))
        if found != columns:
            raise sqlite3.DatabaseError(f"table {table}: found columns {found!r}")
    numbers = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchall()
    last = db.execute("SELECT max(seq) FROM results").fetchone()[0] or 0
    if len(numbers) > 1 or not all(isinstance(row[0], int) and last <= row[0] <= MAX_SEQ for row in numbers):
        raise sqlite3.DatabaseError(f"the last number is {[row[0] for row in numbers]}, of a result {last}")
    if last and not numbers:
        raise sqlite3.DatabaseError("results without a last number")
    spool_id(db)


def spool_id(db: sqlite3.Connection) -> UUID:
    """The spool's id. Raises DatabaseError if none can be read."""
    found = get_meta(db, "spool")
    with suppress(ValueError, TypeError):
        if str(name := UUID(found)) == found:
            return name
    raise sqlite3.DatabaseError(f"its name is {found!r}")


@dataclass(frozen=True, slots=True)
class CopiedSpool:
    """A spool that came from another machine: its id there, and how many results without a time were dropped."""

    before: str | None
    dropped: int


def begin_boot(db: sqlite3.Connection, boot: UUID, machine_: str | None) -> CopiedSpool | None:
    """Prepares the file for a boot's first commit, in the caller's transaction; returns what a change of machine did.

    On another machine the file is a copy, and takes a new id. Results that wait keep their id and number, and go out as
    the same bytes as from the original: the store has them once. Results without a time would get another time than
    there, and are dropped.
    """
    copied = None
    before = get_meta(db, "machine")
    if (
        machine_ is not None
        and before is not None
        and machine_ != before
        and _id_source(machine_) == _id_source(before)
    ):
        old = get_meta(db, "spool")
        dropped = db.execute("DELETE FROM results WHERE clock IS NULL").rowcount
        db.execute("DELETE FROM untold")
        set_meta(db, "spool", str(uuid4()))
        set_meta(db, "told", str(last_seq(db)))
        copied = CopiedSpool(old, dropped)
    if machine_ is not None and machine_ != before:
        set_meta(db, "machine", machine_)
    if get_meta(db, "boot") != str(boot):
        skipped_to = last_seq(db) + SKIPPED_SEQS[0] + secrets.randbelow(SKIPPED_SEQS[1] - SKIPPED_SEQS[0])
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'results'")
        db.execute("INSERT INTO sqlite_sequence VALUES ('results', ?)", (skipped_to,))
        set_meta(db, "boot", str(boot))
    return copied


def _id_source(machine_: str) -> str:
    return machine_.partition(":")[0]


def last_seq(db: sqlite3.Connection) -> int:
    """The last number that was given or skipped."""
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'results'").fetchone()
    return 0 if row is None else int(row[0])


def get_meta(db: sqlite3.Connection, key: str) -> str | None:
    """The value of a key in `meta`; None if there is none."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(db: sqlite3.Connection, key: str, value: str | None) -> None:
    """Sets the value of a key in `meta`; None deletes it."""
    if value is None:
        db.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        db.execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
        )
