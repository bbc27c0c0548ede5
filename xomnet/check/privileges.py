"""Who checks: the service's own user, so that what may be read and written is what the service may."""

import importlib
import os
import pwd
from contextlib import suppress
from pathlib import Path

LATE = ("_strptime", "encodings.idna", "encodings.utf_8_sig")
"""Imported by the standard library when first used; the service's user may not reach a Python in somebody's home."""


def become_the_service(own: Path) -> None:
    """Root becomes the user whose folder or file this is: what it writes must stay that user's, and what that user may
    not read, the service can't use either.
    """
    with suppress(FileNotFoundError):
        owner = own.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            for late in LATE:
                importlib.import_module(late)
            with suppress(KeyError):
                os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
    os.umask(0o077)
