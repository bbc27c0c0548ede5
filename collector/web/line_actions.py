"""What the operator reads and does on a line's page: alerts, acknowledgement, maintenance, and the buttons' answers."""

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
    sentences: list[str]
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
        return _read(service, status, may_change, t, now)
    except sqlite3.Error as error:
        unread = t.text("The alerts of this line can't be read right now: {reason}", reason=error)
        return LineActions(*status.id, [unread], may_acknowledge=False)


def _read(service: AlertService, status: LineStatus, may_change: bool, t: Texts, now: dt.datetime) -> LineActions:
    line, sentences = status.id, []
    alerts = [alert for alert in service.store.state().alerts if any(one.id == line for one in alert.lines)]
    sentences += [t.text("Alert since {moment}.", moment=t.minute(alert.opened_at)) for alert in alerts]
    acknowledged = service.store.acknowledgements().get(line)
    if acknowledged is not None:
        who = t.text("Acknowledged by {who}, {moment}", who=acknowledged.by, moment=t.minute(acknowledged.at))
        sentences.append(who + (f": {acknowledged.note}" if acknowledged.note else "."))
    for window in service.maintenance_of(status, now):
        until = t.text("In maintenance until {moment} ({who})", moment=t.minute(window.until), who=window.by)
        sentences.append(f"{until}: {window.why}")
    trouble = bool(alerts) or status.judgement.state in BY_STATE
    return LineActions(*line, sentences, may_change and trouble and acknowledged is None)


def refusal_texts(t: Texts) -> dict[str, str]:
    """What the buttons show if the server or the unit refuses. The key is an answer's status, after the dialog's name
    if that matters; or the word of a unit that refused; or the outcome of a command. A refusal without a text here is
    shown as it came: REST and units speak English, so only Vietnamese needs all of them.
    """
    unreachable = {"unreachable": t.text("The server does not answer. Try again.")}
    if t.language == "en":
        return unreachable
    return {
        **unreachable,
        "400": t.text("The server can't accept this input."),
        "401": t.text("The operator's token is missing or wrong."),
        "403": t.text("Changes are disabled: no operator token is set."),
        "404": t.text("This line is no longer in the registry."),
        "acknowledge 409": t.text("This line has no open alert to acknowledge."),
        "maintenance 409": t.text("There are too many maintenance windows already."),
        "500": t.text("An error occurred in the program"),
        "503": t.text("The server can't do this right now. Try again later."),
        "no_answer": t.text("The unit has not answered."),
        "undelivered": t.text("The unit can't be reached: it is offline, or the broker is unavailable."),
        "budget": t.text("Not tested: this month's data budget does not allow it."),
        "busy": t.text("The unit is busy with something else."),
        "server_busy": t.text("Every measurement server is busy."),
        "expired": t.text("The unit received the command too late. Try again."),
        "too_many": t.text("The unit received too many commands within an hour."),
        "clock_unknown": t.text("The unit's clock is not set yet."),
        "unknown_line": t.text("The unit does not have this line in its settings."),
        "stopping": t.text("The unit is shutting down."),
        "spool": t.text("The unit's card is not writable."),
    }
