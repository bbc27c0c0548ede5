"""What people and alerts say of a line, for its page: sentences, and what the operator's buttons send."""

import datetime as dt
import sqlite3
from dataclasses import dataclass

from collector.alerts.conditions import BY_STATE
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
    service: AlertService | None, status: LineStatus, may_change: bool, t: Texts, now: dt.datetime
) -> LineActions | None:
    """None if alerts are not evaluated here. `may_change`: a token is set, so there are buttons. Reads the stored
    alerts; if the disk refuses, a sentence says so.
    """
    if service is None:
        return None
    try:
        return _standing(service, status, may_change, t, now)
    except sqlite3.Error as error:
        unread = t.text("The alerts of this line can't be read right now: {reason}", reason=error)
        return LineActions(*status.id, [unread], may_acknowledge=False)


def _standing(service: AlertService, status: LineStatus, may_change: bool, t: Texts, now: dt.datetime) -> LineActions:
    line, said = status.id, []
    alerts = [alert for alert in service.store.state().alerts if any(one.id == line for one in alert.lines)]
    said += [t.text("Alert since {moment}.", moment=t.minute(alert.opened_at)) for alert in alerts]
    acknowledged = service.store.acknowledgements().get(line)
    if acknowledged is not None:
        who = t.text("Acknowledged by {who}, {moment}", who=acknowledged.by, moment=t.minute(acknowledged.at))
        said.append(who + (f": {acknowledged.note}" if acknowledged.note else "."))
    for window in service.maintenance_of(status, now):
        until = t.text("In maintenance until {moment} ({who})", moment=t.minute(window.until), who=window.by)
        said.append(f"{until}: {window.why}")
    trouble = bool(alerts) or status.judgement.state in BY_STATE
    return LineActions(*line, said, may_change and trouble and acknowledged is None)
