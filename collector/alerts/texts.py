"""An alert and its end in words: what was measured against which target, since when, what to check first."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from markupsafe import Markup

from collector.alerts.alert import Alert, AlertChange, AlertedLine
from collector.alerts.backup_age import MAX_AGE
from collector.alerts.conditions import BY_STATE, AlertFacts
from collector.alerts.evidence import NOTHING, Evidence
from collector.alerts.outbox import Notification
from collector.alerts.phrases import area_name, line_name, lines_phrase, place_name
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from collector.texts.texts import Texts
from collector.texts.words import access_word
from xomnet.area import below, join_levels, levels, shared_area
from xomnet.registry.registry import LineRow
from xomnet.states import LOOKS

MAX_NAMED = 10

Statuses = Mapping[LineId, LineStatus]
Wants = Callable[[LineRow], bool]


Notice = Callable[[str, Sequence[LineRow], Texts, str | None], Notification]
"""Makes the message of a unit, from its name, its lines, the language and the page's URL."""


def message_of(
    change: AlertChange,
    statuses: Statuses,
    window_s: float,
    t: Texts,
    public_url: str | None,
    evidence: Evidence = NOTHING,
    wants: Wants = lambda _: True,
) -> Notification:
    """The message of an alert or of its end, for a channel that `wants` some lines only: those of an area or a provider
    are named, and the others counted. Lines that are not registered any more are named by their unit.
    """
    alert = change.alert
    if change.event == "ended":
        lines = _end_sentences(change, statuses, t, wants)
        mark, word = _end_title(alert, t)
    else:
        mark, word = LOOKS[alert.trouble].mark, t.state(alert.trouble)
        single = alert.kind in ("line", "unit")
        lines = (
            _line_sentences(alert, statuses, window_s, t, evidence, change.at)
            if single
            else _cause_sentences(change, statuses, t, wants)
        )
    link = None if public_url is None else public_url.rstrip("/") + address_of(alert, statuses)
    title = f"{mark} {word} · {subject_of(alert, statuses, t)}"
    return notification(title, lines, link, "success" if change.event == "ended" else "failure")


def duplicate_notice(agent: str, rows: Sequence[LineRow], t: Texts, public_url: str | None) -> Notification:
    """The message of a unit whose name two machines use; `rows` are its lines."""
    seen = t.text("Two machines send results under this name: the unit's card was copied, or its key was stolen.")
    check = t.text(
        "is a second card with this name in use? Then remove it. If there is none, the key may be stolen: revoke the"
        " unit, then enrol it again"
    )
    return _notice(t.text("TWO MACHINES UNDER ONE NAME"), agent, rows, seen, check, t, public_url)


def quota_notice(agent: str, rows: Sequence[LineRow], t: Texts, public_url: str | None) -> Notification:
    """The message of a unit that went beyond its quota of the day; `rows` are its lines."""
    seen = t.text("The unit sent more than a unit makes in a day. The rest is rejected, or waits on the unit.")
    check = t.text(
        "did somebody make it test more often? Then raise the quota in collector.yaml. If nobody did, its"
        " certificate may be stolen: revoke it"
    )
    return _notice(t.text("QUOTA EXCEEDED"), agent, rows, seen, check, t, public_url)


def backup_notice(_agent: str, _rows: Sequence[LineRow], t: Texts, _public_url: str | None) -> Notification:
    """The message of a server that is no longer backed up."""
    seen = t.text("No backup of the server has succeeded for {hours} hours.", hours=MAX_AGE // dt.timedelta(hours=1))
    check = t.text("journalctl -u xomnet-backup on the server; is the disk full")
    return notification(
        f"⚠ {t.text('BACKUP OVERDUE')}", [seen, t.text("Check first: {what}.", what=check)], None, "failure"
    )


def _notice(
    title: str, agent: str, rows: Sequence[LineRow], seen: str, check: str, t: Texts, public_url: str | None
) -> Notification:
    unit = t.text("unit {agent}", agent=agent)
    subject = f"{place_name(rows[0])} · {unit}" if rows else unit
    link = None if public_url is None or not rows else f"{public_url.rstrip('/')}/lines/{agent}/{rows[0].line}"
    return notification(f"⚠ {title} · {subject}", [seen, t.text("Check first: {what}.", what=check)], link, "failure")


def notification(title: str, lines: Sequence[str], link: str | None, tone: str) -> Notification:
    """Lines of text, and the same as simple HTML."""
    html = Markup("<p><b>{}</b></p>").format(title) + Markup("").join(Markup("<p>{}</p>").format(x) for x in lines)
    if link is not None:
        html += Markup('<p><a href="{}">{}</a></p>').format(link, link)
    return Notification(title, "\n".join([*lines, *([link] if link else [])]), str(html), tone)  # type: ignore[arg-type]


def subject_of(alert: Alert, statuses: Statuses, t: Texts) -> str:
    """Which line, unit, area or provider."""
    status = statuses.get(alert.lines[0].id)
    if alert.kind == "area":
        return f"{area_name(alert.place)} · {lines_phrase(len(alert.lines), t)}"
    if alert.kind == "isp":
        access = "" if alert.access is None else f" {access_word(t, alert.access).lower()}"
        return f"{alert.place}{access} · {lines_phrase(len(alert.lines), t)}"
    if status is None:
        return alert.place
    if alert.kind == "unit":
        unit = t.text("unit {agent}", agent=alert.place)
        return f"{place_name(status.row)} · {unit} · {lines_phrase(len(alert.lines), t)}"
    return f"{place_name(status.row)} · {line_name(status.row)}"


def address_of(alert: Alert, statuses: Statuses) -> str:
    """The path of the page that shows it."""
    if alert.kind in ("line", "unit"):
        return f"/lines/{alert.lines[0].agent}/{alert.lines[0].line}"
    facets = {"area": alert.place} if alert.kind == "area" else {"isp": alert.place}
    access = {} if alert.access is None else {"access": alert.access}
    return "/?" + urlencode({"state": alert.trouble, **access, **facets}, quote_via=quote, safe="/")


def _line_sentences(
    alert: Alert, statuses: Statuses, window_s: float, t: Texts, evidence: Evidence, now: dt.datetime
) -> list[str]:
    status = statuses.get(alert.lines[0].id)
    if status is None:
        return []
    texts = BY_STATE[alert.trouble].texts
    facts = AlertFacts(alert, status, evidence, window_s, now)
    ids = t.text("Unit {agent}, line {line}.", agent=status.row.agent, line=", ".join(o.line for o in alert.lines))
    check = t.text("Check first: {what}.", what="; ".join(texts.first_checks(facts, t)))
    return [*texts.opening(facts, t), check, ids]


def _cause_sentences(change: AlertChange, statuses: Statuses, t: Texts, wants: Wants) -> list[str]:
    alert = change.alert
    texts = BY_STATE[alert.trouble].texts
    of_all = sum(alert.covers(status.row) for status in statuses.values())
    number, every = t.number(len(alert.lines), 0), lines_phrase(of_all, t)
    said = t.text(texts.together, n=number, lines=every, moment=t.minute(alert.since))
    before = t.plural("{n} of them had an alert before.", "{n} of them had alerts before.", alert.alerted_before)
    check = t.text("Check first: {what}.", what=t.text(texts.isp_check if alert.kind == "isp" else texts.area_check))
    return [
        said + (f" {before}" if alert.alerted_before else ""),
        _counts_by_area(alert.lines, statuses, t, wants),
        check,
    ]


def _counts_by_area(lines: Sequence[AlertedLine], statuses: Statuses, t: Texts, wants: Wants) -> str:
    """Hải Hậu 5, Ý Yên 5: by the first level in which they differ; only of lines that somebody wants."""
    paths = [s.row.area for one in lines if (s := statuses.get(one.id)) is not None and wants(s.row)]
    if not paths:
        return ""
    shared = shared_area(join_levels(levels(path)[:-1]) for path in paths)  # without the last: a level must remain
    counted = Counter(levels(below(path, shared))[0] for path in paths).most_common()
    named = ", ".join(f"{area} {t.number(n, 0)}" for area, n in counted[:MAX_NAMED])
    rest = sum(n for _, n in counted[MAX_NAMED:])
    return named + (", " + t.text("elsewhere {n}", n=t.number(rest, 0)) if rest else "") + "."


def _end_sentences(change: AlertChange, statuses: Statuses, t: Texts, wants: Wants) -> list[str]:
    alert = change.alert
    good = [one.good_since for one in alert.lines if one.good_since is not None]
    until = min(good, default=change.at) if alert.kind == "unit" else max(good, default=change.at)
    span = t.span(max(0.0, (until - alert.since).total_seconds()))
    lasted = BY_STATE[alert.trouble].texts.lasted
    said = [t.text(lasted, span=span, from_=t.minute(alert.since), to=t.minute(until))]
    status = statuses.get(alert.lines[0].id)
    if alert.kind == "line" and alert.lines[0].end == "unregistered":
        said.append(t.text("The line is no longer in the registry."))
    elif alert.kind == "line" and alert.lines[0].end == "not_assessable":
        said.append(t.text("No longer assessable: the plan or the unit's port is below the target."))
    elif alert.kind == "line" and status is not None and status.judgement.median_mbps is not None:
        judged = status.judgement
        values = {"median": t.mbps(judged.median_mbps or 0, judged.target_mbps), "target": t.target(judged.target_mbps)}
        said.append(t.text("Now {median} Mb/s, target {target} Mb/s.", **values))
        if (other := BY_STATE.get(judged.state)) is not None and other.texts.end_note is not None:
            said.append(t.text(other.texts.end_note))
    elif alert.kind in ("isp", "area"):
        said.append(t.text("{n} of {lines} have recovered.", n=t.number(len(alert.lines) - len(change.remaining), 0),
                           lines=lines_phrase(len(alert.lines), t)))  # fmt: skip
    remaining = [
        _short_name(one, statuses) for one in change.remaining if (s := statuses.get(one.id)) is None or wants(s.row)
    ]
    if remaining:
        named = "; ".join(remaining[:MAX_NAMED]) + ("…" if len(remaining) > MAX_NAMED else "")
        said.append(t.text("Not yet recovered: {lines}.", lines=named))
    return said


def _short_name(one: AlertedLine, statuses: Statuses) -> str:
    status = statuses.get(one.id)
    return f"{one.agent} / {one.line}" if status is None else f"{place_name(status.row)} · {line_name(status.row)}"


def _end_title(alert: Alert, t: Texts) -> tuple[str, str]:
    """Mark and word of the message of an end."""
    if all(one.end is not None for one in alert.lines):
        return LOOKS["not_assessable"].mark, t.text("NO LONGER MONITORED")
    return LOOKS["meeting"].mark, t.text(BY_STATE[alert.trouble].texts.end_word)
