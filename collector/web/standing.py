"""What people and alerts say of a line, for its page: sentences, and what the operator's buttons send."""

import datetime as dt
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts

if TYPE_CHECKING:  # its texts are the page's
    from collector.alerts.service import Desk


@dataclass(frozen=True, slots=True)
class Standing:
    agent: str
    line: str
    said: list[str]
    may_acknowledge: bool


def standing(desk: "Desk | None", status: LineStatus, may_change: bool, t: Texts, now: dt.datetime) -> Standing | None:
    """None where nobody decides on alerts. `may_change`: a token is set, so there are buttons. Reads the alert book;
    where the disk refuses, that is said.
    """
    if desk is None:
        return None
    try:
        return _standing(desk, status, may_change, t, now)
    except sqlite3.Error as error:
        unread = t.text("What is told of this line can't be read just now: {reason}", reason=error)
        return Standing(*status.id, [unread], may_acknowledge=False)


def _standing(desk: "Desk", status: LineStatus, may_change: bool, t: Texts, now: dt.datetime) -> Standing:
    line, said = status.id, []
    alerts = [alert for alert in desk.kept.book().alerts if any(one.id == line for one in alert.lines)]
    said += [t.text("Alert since {moment}.", moment=t.minute(alert.opened_at)) for alert in alerts]
    taken = desk.kept.acknowledged().get(line)
    if taken is not None:
        who = t.text("Taken on by {who}, {moment}", who=taken.by, moment=t.minute(taken.at))
        said.append(who + (f": {taken.note}" if taken.note else "."))
    for window in desk.maintenance_of(status, now):
        until = t.text("In maintenance until {moment} ({who})", moment=t.minute(window.until), who=window.by)
        said.append(f"{until}: {window.why}")
    trouble = bool(alerts) or status.judgement.state in ("short", "silent")
    return Standing(*line, said, may_change and trouble and taken is None)
