"""The user of a check: the service's own, so that the check may read and write what the service may."""

import importlib
import os
import pwd
from contextlib import suppress
from pathlib import Path

LATE = ("_strptime", "encodings.idna", "encodings.utf_8_sig")
"""Modules that the standard library imports late: the service's user may not be able to read a Python in a home
folder.
"""


def drop_privileges(own: Path) -> None:
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
