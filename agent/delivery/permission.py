"""The permission to measure, as the collector's answers bring it; the spool's file keeps it over restarts."""

from agent.delivery.spool import Spool, SpoolError
from xomnet.runtime.log import Log

log = Log("agent.delivery.permission")

KEY = "permission"


def keep_permission(spool: Spool, text: str) -> None:
    """Keeps the newest one; if the disk refuses, the former one stays."""
    try:
        spool.set_value(KEY, text)
    except SpoolError as error:
        log.error("permission not kept", reason=str(error))


def kept_permission(spool: Spool) -> str | None:
    """The newest one, also after it has expired: servers decide that. None if there is none, or no disk to read."""
    try:
        return spool.get_value(KEY)
    except SpoolError as error:
        log.error("permission not read", reason=str(error))
        return None
