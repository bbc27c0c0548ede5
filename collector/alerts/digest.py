"""The message of the day: how many lines are well, which are not, what is missing, what was not sent."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from collector.alerts.alert import AlertState
from collector.alerts.outbox import FailedNotification, Notification
from collector.alerts.silences import Acknowledgement, MaintenanceWindow, in_maintenance
from collector.alerts.texts import Wants, line_name, notification, place_name
from collector.completeness.completeness import Found
from collector.judge.line_states import LineStatus, Snapshot
from collector.store import LineId
from collector.texts.texts import LOCAL, Texts
from collector.texts.words import access_word
from xomnet.states import LOOKS

MAX_NAMED = 20


@dataclass(frozen=True, slots=True)
class Day:
    """What a digest is made of."""

    snapshot: Snapshot
    book: AlertState
    acknowledged: Mapping[LineId, Acknowledgement]
    windows: Sequence[MaintenanceWindow]
    found: Found | None
    failed: Sequence[FailedNotification]


def due(now: dt.datetime, digest_at: str, last: dt.date | None) -> bool:
    """True from `digest_at` (HH:MM of the province's time, or `never`) on, once a day."""
    if digest_at == "never":
        return False
    local = now.astimezone(LOCAL)
    return f"{local:%H:%M}" >= digest_at and last != local.date()


def digest(day: Day, t: Texts, wants: Wants, public_url: str | None) -> Notification:
    """The digest for somebody who `wants` some lines only."""
    now, seen = day.snapshot.at, [s for s in day.snapshot.lines if wants(s.row)]
    worked_on = in_maintenance(day.windows, now)
    maintained = {s.id for s in seen if worked_on(s.row)}
    open_ = [s for s in seen if s.id not in maintained and s.id not in day.acknowledged]
    lines = [_of_access(seen, t), *_short(open_, t), *_silent(open_, now, t), *_no_data(open_, t)]
    lines += _acknowledged(day.acknowledged, seen, t)
    if maintained:
        lines.append(t.text("In maintenance: {lines}.", lines=t.plural("{n} line", "{n} lines", len(maintained))))
    lines += [*_gaps(day.found, {s.row.agent for s in seen}, t), *_not_sent(day.failed, now, t)]
    well = sum(s.judgement.state == "meeting" for s in seen)
    title = t.text(
        "{date}: {well} of {lines} meet the target, {short} short, {silent} silent",
        date=f"{now.astimezone(LOCAL):%d/%m}" if t.language == "vi" else f"{now.astimezone(LOCAL):%-d %b}",
        well=t.number(well, 0),
        lines=t.plural("{n} line", "{n} lines", len(seen)),
        short=t.number(sum(s.judgement.state == "short" for s in seen), 0),
        silent=t.number(sum(s.judgement.state == "silent" for s in seen), 0),
    )
    return notification(title, [line for line in lines if line], public_url, "info")


def _of_access(seen: Sequence[LineStatus], t: Texts) -> str:
    parts = []
    for access in ("fixed", "mobile"):
        of = [s.judgement.state for s in seen if s.row.access == access]
        if of:
            parts.append(f"{access_word(t, access)}: {t.number(of.count('meeting'), 0)}/{t.number(len(of), 0)}")
    return " · ".join(parts)


def _short(open_: Sequence[LineStatus], t: Texts) -> list[str]:
    said = []
    for s in open_:
        judged = s.judgement
        if judged.state != "short" or judged.median_mbps is None or judged.ratio is None:
            continue
        figures = t.text("{median} of {target} Mb/s ({ratio})", median=t.mbps(judged.median_mbps, judged.target_mbps),
                         target=t.target(judged.target_mbps), ratio=t.percent(judged.ratio))  # fmt: skip
        since = "" if judged.since is None else ", " + t.text("since {moment}", moment=t.minute(judged.since))
        said.append(f"{LOOKS['short'].mark} {place_name(s.row)} · {line_name(s.row)}: {figures}{since}")
    return _shortened(said, t)


def _silent(open_: Sequence[LineStatus], now: dt.datetime, t: Texts) -> list[str]:
    by_unit: dict[str, list[LineStatus]] = {}
    for s in open_:
        if s.judgement.state == "silent":
            by_unit.setdefault(s.row.agent, []).append(s)
    said = []
    for agent, of in sorted(by_unit.items()):
        last = max(s.judgement.last_result_at for s in of if s.judgement.last_result_at is not None)
        ago = t.ago((now - last).total_seconds())
        names = ", ".join(line_name(s.row) for s in of)
        heard = t.text("last heard {ago}", ago=ago)
        said.append(f"{LOOKS['silent'].mark} {place_name(of[0].row)} · {agent} ({names}): {heard}")
    return _shortened(said, t)


def _no_data(open_: Sequence[LineStatus], t: Texts) -> list[str]:
    """How many lines were never heard, without their names: most of them are of units that are not mounted yet."""
    number = sum(s.judgement.state == "no_data" for s in open_)
    lines = t.plural("{n} line", "{n} lines", number)
    return [f"{LOOKS['no_data'].mark} {t.text('No data yet: {lines}.', lines=lines)}"] if number else []


def _acknowledged(given: Mapping[LineId, Acknowledgement], seen: Sequence[LineStatus], t: Texts) -> list[str]:
    said = []
    for s in seen:
        one = given.get(s.id)
        if one is not None:
            who = t.text("taken on by {who}, {moment}", who=one.by, moment=t.minute(one.at))
            note = f" – {one.note}" if one.note else ""
            said.append(f"✓ {place_name(s.row)} · {line_name(s.row)}: {who}{note}")
    return _shortened(said, t)


def _gaps(found: Found | None, agents: Collection[str], t: Texts) -> list[str]:
    if found is None:
        return []
    missing: dict[str, int] = {}
    for line, complete in found.lines.items():
        if complete.tally.missing and line.agent in agents:
            missing[line.agent] = missing.get(line.agent, 0) + complete.tally.missing
    if not missing:
        return []
    units = ", ".join(f"{agent} ({t.number(n, 0)})" for agent, n in sorted(missing.items())[:MAX_NAMED])
    return [t.text("Results missing for good: {units}.", units=units)]


def _not_sent(failed: Sequence[FailedNotification], now: dt.datetime, t: Texts) -> list[str]:
    lately = [one for one in failed if now - one.at < dt.timedelta(days=1)]
    if not lately:
        return []
    number = t.plural("{n} message", "{n} messages", len(lately))
    return [t.text("Not sent in a day: {messages}; the last: {reason}", messages=number, reason=lately[0].reason)]


def _shortened(said: list[str], t: Texts) -> list[str]:
    rest = len(said) - MAX_NAMED
    if rest <= 0:
        return said
    return [*said[:MAX_NAMED], t.plural("… and {n} more", "… and {n} more", rest)]
