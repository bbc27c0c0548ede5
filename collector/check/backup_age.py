"""The backup of the server: when the last one was made. Whoever makes it is no part of the collector."""

import datetime as dt
from pathlib import Path

from collector.alerts.backup_age import MAX_AGE, backup_age
from xomnet.check.finding import Finding, ok, say, skip, warn


def backup(stamp: Path | None, now: dt.datetime) -> Finding:
    """By the file that each backup writes."""
    if stamp is None:
        return skip("backup", say("backup_stamp is not set: nobody is told if backups fail"))
    age, log = backup_age(stamp, now), say("journalctl -u xomnet-backup; make one: systemctl start xomnet-backup")
    if age is None:
        return warn("backup", say("there was no backup yet ({path})", path=str(stamp)), log)
    made = say("the last one: {n} h ago", n=age / dt.timedelta(hours=1))
    return ok("backup", made) if age <= MAX_AGE else warn("backup", made, log)
