"""The collector's own files: targets, registry, the state folder, the operator's token, the key of permissions."""

import datetime as dt
import os
import pwd
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from zoneinfo import ZoneInfo

from collector.ingest.dead_letters import DeadLetters
from collector.ingest.permissions import PermissionIssuer
from collector.web.operator import SETTING, read_token
from xomnet.check.finding import Finding, Sentence, fail, ok, say, skip, warn
from xomnet.check.host import try_to_write
from xomnet.plan import PROVINCE_TIME
from xomnet.registry.registry import RegistryError, load_registry
from xomnet.runtime.secrets import SecretError
from xomnet.targets import Targets

LEAST_FREE_MB = 500.0
"""The dead letters alone may take 100."""
DEAD_LETTERS = "dead-letters.jsonl"


def targets_today(targets: Targets, now: dt.datetime) -> Finding:
    """As they are in force."""
    today = now.astimezone(ZoneInfo(PROVINCE_TIME)).date()
    fixed, mobile = targets.down_mbps("fixed", today), targets.down_mbps("mobile", today)
    return ok("targets", say("fixed {fixed} Mb/s, mobile {mobile} Mb/s", fixed=fixed, mobile=mobile))


def registry(path: Path, targets: Targets, now: dt.datetime) -> Finding:
    """What the file says, or its bad cells counted and the first one named."""
    try:
        found = load_registry(path, targets)
    except RegistryError as error:
        number, first = len(error.problems), str(error.problems[0])
        bad = say("1 error: {cell}", cell=first)
        if number > 1:
            bad = say("{n} errors, the first: {cell}", n=number, cell=first)
        return fail("registry", bad, say("xomnet registry check {path} lists every error", path=str(path)))
    here = found.current(now)
    counted = say(
        "rows: {rows}; today lines: {lines}, units: {units}",
        rows=len(found.rows()),
        lines=len(here),
        units=len({row.agent for row in here}),
    )
    if not here:
        return warn("registry", counted, say("every result is rejected until a row is in force: column from"))
    return ok("registry", counted)


def state(folder: Path) -> Finding:
    """Whose it is, whether it may be written, room, and what waits there for a person."""
    if not os.path.isdir(folder):  # Path's own raises where a folder above is closed
        first = say("the service creates it at its first start (StateDirectory=); otherwise: mkdir, chown xomnet")
        return warn("state", say("{path} does not exist", path=str(folder)), first)
    owner, chown = _owner(folder), say("chown -R xomnet {path}", path=str(folder))
    try:
        try_to_write(folder)
    except OSError as error:
        closed = say("{path}: {reason}", path=str(folder), reason=error.strerror or str(error))
        return fail("state", (owner, closed), chown)
    if foreign := next((str(one) for one in folder.iterdir() if not os.access(one, os.R_OK | os.W_OK)), None):
        return fail("state", (owner, say("{path}: the service's user cannot write it", path=foreign)), chown)
    free = say("{n} MB free", n=free_mb(folder))
    if free_mb(folder) < LEAST_FREE_MB:
        return fail("state", (owner, free), say("free space: df -h {path}", path=str(folder)))
    if folder.stat().st_mode & stat.S_IRWXO:
        return warn("state", (owner, free), say("other users can read it: chmod o= {path}", path=str(folder)))
    counts = DeadLetters(folder / DEAD_LETTERS).counts()
    if counts:
        codes = ", ".join(f"{code} {number}" for code, number in sorted(counts.items()))
        wait = say("rejected messages: {n} ({codes})", n=sum(counts.values()), codes=codes)
        return warn("state", (owner, free, wait), say("fix the cause, then: xomnet collector resend"))
    return ok("state", owner, free)


def operator(path: Path | None) -> Finding:
    """The token's file."""
    if path is None:
        return skip("operator", say("{setting} is not set: the page is read-only", setting=SETTING))
    try:
        read_token(path)
    except SecretError as error:
        return fail("operator", say("{reason}", reason=str(error)), None)
    return ok("operator", say("other users cannot read the token"))


def permissions(path: Path | None) -> Finding:
    """The key that signs the units' permissions to measure."""
    if path is None:
        return skip("permissions", say("permission_key is not set: units have no places of their own"))
    try:
        PermissionIssuer(path)
    except SecretError as error:
        return fail("permissions", say("{reason}", reason=str(error)), None)
    return ok("permissions", say("the key can sign"))


def free_mb(folder: Path) -> int:
    """Where the folder lies."""
    return round(shutil.disk_usage(folder).free / 1e6)


def _owner(folder: Path) -> Sentence:
    found = folder.stat()
    name = str(found.st_uid)
    with suppress(KeyError):
        name = pwd.getpwuid(found.st_uid).pw_name
    return say("owner {owner}, mode {mode}", owner=name, mode=f"{stat.S_IMODE(found.st_mode):o}")
