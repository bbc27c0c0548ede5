"""The message of the day: how many lines are well, which are not, what is missing, what was not sent."""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from collector.alerts.conditions import CONDITIONS
from collector.alerts.outbox import FailedNotification, Notification
from collector.alerts.phrases import MAX_LISTED, line_name, lines_phrase, place_name, shorten
from collector.alerts.silences.acknowledgement import Acknowledgement
from collector.alerts.silences.maintenance import MaintenanceWindow, in_maintenance
from collector.alerts.texts import Wants, notification
from collector.completeness.completeness import CompletenessSnapshot
from collector.judge.line_states import LineStatus, Snapshot
from collector.store.line_id import LineId
from collector.texts.texts import LOCAL, Texts
from collector.texts.words import access_word, excluded_of_lines


@dataclass(frozen=True, slots=True)
class DigestDay:
    """What a digest is made of."""

    snapshot: Snapshot
    acknowledgements: Mapping[LineId, Acknowledgement]
    windows: Sequence[MaintenanceWindow]
    completeness: CompletenessSnapshot | None
    failed: Sequence[FailedNotification]


def is_due(now: dt.datetime, digest_at: str, last: dt.date | None) -> bool:
    """True from `digest_at` (HH:MM of the province's time, or `never`) on, once a day."""
    if digest_at == "never":
        return False
    local = now.astimezone(LOCAL)
    return f"{local:%H:%M}" >= digest_at and last != local.date()


def digest(day: DigestDay, t: Texts, wants: Wants, public_url: str | None) -> Notification:
    """The digest for a channel that `wants` some lines only."""
    now, statuses = day.snapshot.at, [s for s in day.snapshot.lines if wants(s.row)]
    is_maintained = in_maintenance(day.windows, now)
    maintained = {s.id for s in statuses if is_maintained(s.row)}
    open_ = [s for s in statuses if s.id not in maintained and s.id not in day.acknowledgements]
    excluded = excluded_of_lines([[sample.excluded for sample in s.samples] for s in statuses], t)
    lines = [_access_counts(statuses, t), excluded or ""]
    for condition in CONDITIONS:
        lines += condition.texts.digest([s for s in open_ if s.judgement.state == condition.state], now, t)
    lines += _acknowledgement_rows(day.acknowledgements, statuses, t)
    if maintained:
        lines.append(t.text("In maintenance: {lines}.", lines=lines_phrase(len(maintained), t)))
    lines += _missing_results(day.completeness, {s.row.agent for s in statuses}, t)
    lines += _failed_messages(day.failed, now, t)
    states = Counter(s.judgement.state for s in statuses)
    well = t.text(
        "{date}: {well} of {lines} meet the target",
        date=f"{now.astimezone(LOCAL):%d/%m}" if t.language == "vi" else f"{now.astimezone(LOCAL):%-d %b}",
        well=t.number(states["meeting"], 0),
        lines=lines_phrase(len(statuses), t),
    )
    counts = [t.text(one.texts.count, n=t.number(states[one.state], 0)) for one in CONDITIONS]
    title = ", ".join([well, *counts])
    return notification(title, [line for line in lines if line], public_url, "info")


def _access_counts(statuses: Sequence[LineStatus], t: Texts) -> str:
    parts = []
    for access in ("fixed", "mobile"):
        of = [s.judgement.state for s in statuses if s.row.access == access]
        if of:
            parts.append(f"{access_word(t, access)}: {t.number(of.count('meeting'), 0)}/{t.number(len(of), 0)}")
    return " · ".join(parts)


def _acknowledgement_rows(
    given: Mapping[LineId, Acknowledgement], statuses: Sequence[LineStatus], t: Texts
) -> list[str]:
    said = []
    for s in statuses:
        one = given.get(s.id)
        if one is not None:
            who = t.text("acknowledged by {who}, {moment}", who=one.by, moment=t.minute(one.at))
            note = f" – {one.note}" if one.note else ""
            said.append(f"✓ {place_name(s.row)} · {line_name(s.row)}: {who}{note}")
    return shorten(said, t)


def _missing_results(found: CompletenessSnapshot | None, agents: Collection[str], t: Texts) -> list[str]:
    if found is None:
        return []
    missing: dict[str, int] = {}
    for line, complete in found.lines.items():
        if complete.tally.missing and line.agent in agents:
            missing[line.agent] = missing.get(line.agent, 0) + complete.tally.missing
    if not missing:
        return []
    units = ", ".join(f"{agent} ({t.number(n, 0)})" for agent, n in sorted(missing.items())[:MAX_LISTED])
    return [t.text("Results lost: {units}.", units=units)]


def _failed_messages(failed: Sequence[FailedNotification], now: dt.datetime, t: Texts) -> list[str]:
    lately = [one for one in failed if now - one.at < dt.timedelta(days=1)]
    if not lately:
        return []
    number = t.plural("{n} message", "{n} messages", len(lately))
    return [t.text("Not sent in a day: {messages}; the last: {reason}", messages=number, reason=lately[0].reason)]
