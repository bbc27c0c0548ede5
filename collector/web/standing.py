"""What people and alerts say of a line, for its page: sentences, and what the operator's buttons send."""

import datetime as dt
import sqlite3
from dataclasses import dataclass

from collector.alerts.service import AlertService
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts


@dataclass(frozen=True, slots=True)
class LineActions:
    agent: str
    line: str
    said: list[str]
    may_acknowledge: bool


def line_actions(
    desk: AlertService | None, status: LineStatus, may_change: bool, t: Texts, now: dt.datetime
) -> LineActions | None:
    """None where nobody decides on alerts. `may_change`: a token is set, so there are buttons. Reads the alert book;
    where the disk refuses, that is said.
    """
    if desk is None:
        return None
    try:
        return _standing(desk, status, may_change, t, now)
    except sqlite3.Error as error:
        unread = t.text("What is told of this line can't be read just now: {reason}", reason=error)
        return LineActions(*status.id, [unread], may_acknowledge=False)


def _standing(desk: AlertService, status: LineStatus, may_change: bool, t: Texts, now: dt.datetime) -> LineActions:
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
    trouble = bool(alerts) or status.judgement.state in ("short", "silent", "no_data")
    return LineActions(*line, said, may_change and trouble and taken is None)
