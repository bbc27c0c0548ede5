"""An alert and its end in words: what was measured against which target, since when, what to check first."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from markupsafe import Markup

from collector.alerts.alert import Alert, AlertChange, AlertedLine
from collector.alerts.evidence import NOTHING, Evidence
from collector.alerts.outbox import Notification
from collector.alerts.remediation import first_checks
from collector.judge.line_states import LineStatus
from collector.store.line_id import LineId
from collector.texts.texts import Texts
from collector.texts.words import access_word
from xomnet.registry.registry import LineRow
from xomnet.states import LOOKS

MAX_NAMED = 10
SHORT_NAME = 4

Seen = Mapping[LineId, LineStatus]
Wants = Callable[[LineRow], bool]


def place_name(row: LineRow) -> str:
    """Xóm 2, Giao Thiện (Giao Thủy, Nam Định)."""
    *above, last = row.area.split("/")
    rest = ", ".join(reversed(above))
    return f"{row.hamlet}, {last}" + (f" ({rest})" if rest else "")


def line_name(row: LineRow) -> str:
    """4G Viettel."""
    return f"{row.line.upper() if len(row.line) <= SHORT_NAME else row.line} {row.isp}"


def area_name(path: str) -> str:
    """Hải Hậu (Nam Định)."""
    *above, last = path.split("/")
    return last + (f" ({', '.join(reversed(above))})" if above else "")


def message_of(
    news: AlertChange,
    seen: Seen,
    window_s: float,
    t: Texts,
    public_url: str | None,
    evidence: Evidence = NOTHING,
    wants: Wants = lambda _: True,
) -> Notification:
    """The message of an alert or of its end, to somebody who `wants` some lines only: of an area or a provider, those
    are named, and the others counted. Lines that are registered no longer are named by their unit.
    """
    alert = news.alert
    if news.what == "ended":
        lines = _ended(news, seen, t, wants)
        mark, word = _end_of(alert, t)
    else:
        mark, word = LOOKS[alert.trouble].mark, t.state(alert.trouble)
        single = alert.kind in ("line", "unit")
        lines = _single(alert, seen, window_s, t, evidence, news.at) if single else _common(news, seen, t, wants)
    link = None if public_url is None else public_url.rstrip("/") + address_of(alert, seen)
    title = f"{mark} {word} · {subject_of(alert, seen, t)}"
    return notification(title, lines, link, "success" if news.what == "ended" else "failure")


def notification(title: str, lines: Sequence[str], link: str | None, tone: str) -> Notification:
    """Lines of text, and the same as simple HTML."""
    html = Markup("<p><b>{}</b></p>").format(title) + Markup("").join(Markup("<p>{}</p>").format(x) for x in lines)
    if link is not None:
        html += Markup('<p><a href="{}">{}</a></p>').format(link, link)
    return Notification(title, "\n".join([*lines, *([link] if link else [])]), str(html), tone)  # type: ignore[arg-type]


def subject_of(alert: Alert, seen: Seen, t: Texts) -> str:
    """Which line, unit, area or provider."""
    status = seen.get(alert.lines[0].id)
    if alert.kind == "area":
        return f"{area_name(alert.place)} · {_lines(len(alert.lines), t)}"
    if alert.kind == "isp":
        access = "" if alert.access is None else f" {access_word(t, alert.access).lower()}"
        return f"{alert.place}{access} · {_lines(len(alert.lines), t)}"
    if status is None:
        return alert.place
    if alert.kind == "unit":
        unit = t.text("unit {agent}", agent=alert.place)
        return f"{place_name(status.row)} · {unit} · {_lines(len(alert.lines), t)}"
    return f"{place_name(status.row)} · {line_name(status.row)}"


def address_of(alert: Alert, seen: Seen) -> str:
    """The path of the page that shows it."""
    if alert.kind in ("line", "unit"):
        return f"/lines/{alert.lines[0].agent}/{alert.lines[0].line}"
    facets = {"area": alert.place} if alert.kind == "area" else {"isp": alert.place}
    access = {} if alert.access is None else {"access": alert.access}
    return "/?" + urlencode({"state": alert.trouble, **access, **facets}, quote_via=quote, safe="/")


def speed_sentence(status: LineStatus, window_s: float, t: Texts) -> str | None:
    """Download 42 of 70 Mb/s (60 %), 9 tests in 24 h."""
    judged = status.judgement
    if judged.median_mbps is None or judged.ratio is None:
        return None
    return t.text(
        "Download {median} Mb/s, target {target} Mb/s ({ratio}). {tests} in {window}",
        median=t.mbps(judged.median_mbps, judged.target_mbps),
        target=t.target(judged.target_mbps),
        ratio=t.percent(judged.ratio),
        tests=t.plural("{n} test", "{n} tests", judged.samples),
        window=t.span(window_s),
    )


def since_sentence(since: dt.datetime, now: dt.datetime, t: Texts) -> str:
    ago = t.span(max(0.0, (now - since).total_seconds()))
    return t.text("Since {moment}, for {span}", moment=t.minute(since), span=ago)


def _single(alert: Alert, seen: Seen, window_s: float, t: Texts, evidence: Evidence, now: dt.datetime) -> list[str]:
    status = seen.get(alert.lines[0].id)
    if status is None:
        return []
    ids = t.text("Unit {agent}, line {line}.", agent=status.row.agent, line=", ".join(o.line for o in alert.lines))
    check = t.text("Check first: {what}.", what="; ".join(first_checks(alert, status, evidence, t)))
    if alert.trouble == "silent":
        return [_last_heard(alert, status, now, t), check, ids]
    speed = speed_sentence(status, window_s, t)
    said = [] if speed is None else [speed + _confirmed(evidence, t) + "."]
    return [*said, _before(status, evidence, alert.since, now, t), check, ids]


def _confirmed(evidence: Evidence, t: Texts) -> str:
    if not evidence.confirmations or evidence.confirmed_at is None:
        return ""
    number = t.plural("{n} confirmation test", "{n} confirmation tests", evidence.confirmations)
    return ", " + t.text("{tests}, the last at {moment}", tests=number, moment=t.minute(evidence.confirmed_at))


def _before(status: LineStatus, evidence: Evidence, since: dt.datetime, now: dt.datetime, t: Texts) -> str:
    before = status.judgement.before_mbps or evidence.before_mbps
    said = since_sentence(since, now, t) + "."
    if before is None:
        return said
    figure = t.mbps(before, status.judgement.target_mbps)
    if before < status.judgement.target_mbps or not evidence.met_days:
        return said + " " + t.text("Before that {median} Mb/s.", median=figure)
    days = t.plural("{n} day", "{n} days", evidence.met_days)
    return said + " " + t.text("Before that {median} Mb/s, meeting the target for {days}.", median=figure, days=days)


def _last_heard(alert: Alert, status: LineStatus, now: dt.datetime, t: Texts) -> str:
    last = status.judgement.last_result_at or alert.since
    values = {"moment": t.minute(last), "ago": t.ago(max(0.0, (now - last).total_seconds()))}
    if alert.kind == "unit" and len(alert.lines) > 1:
        lines = _lines(len(alert.lines), t)
        return t.text("Last heard at {moment} ({ago}). All {lines} of the unit are silent.", lines=lines, **values)
    if alert.kind == "unit":
        return t.text("Last heard at {moment} ({ago}). It is the unit's only line.", **values)
    return t.text("Last heard at {moment} ({ago}). Another line of the unit still reports.", **values)


def _common(news: AlertChange, seen: Seen, t: Texts, wants: Wants) -> list[str]:
    alert = news.alert
    of_all = sum(alert.holds(status.row) for status in seen.values())
    number, every = t.number(len(alert.lines), 0), _lines(of_all, t)
    when = t.minute(alert.since)
    if alert.trouble == "silent":
        said = t.text("{n} of {lines} fell silent together, from {moment} on.", n=number, lines=every, moment=when)
    else:
        said = t.text("{n} of {lines} fell short together, from {moment} on.", n=number, lines=every, moment=when)
    told = t.plural("{n} of them was told before.", "{n} of them were told before.", alert.told)
    check = t.text("Check first: {what}.", what="; ".join(first_checks(alert, None, NOTHING, t)))
    return [said + (f" {told}" if alert.told else ""), _areas(alert.lines, seen, t, wants), check]


def _areas(lines: Sequence[AlertedLine], seen: Seen, t: Texts, wants: Wants) -> str:
    """Hải Hậu 5, Ý Yên 5: by the first level in which they differ; only of lines that somebody wants."""
    paths = [s.row.area.split("/") for one in lines if (s := seen.get(one.id)) is not None and wants(s.row)]
    if not paths:
        return ""
    shared = 0
    while all(len(path) > shared + 1 for path in paths) and len({path[shared] for path in paths}) == 1:
        shared += 1
    counted = Counter(path[shared] for path in paths).most_common()
    named = ", ".join(f"{area} {t.number(n, 0)}" for area, n in counted[:MAX_NAMED])
    rest = sum(n for _, n in counted[MAX_NAMED:])
    return named + (", " + t.text("elsewhere {n}", n=t.number(rest, 0)) if rest else "") + "."


def _ended(news: AlertChange, seen: Seen, t: Texts, wants: Wants) -> list[str]:
    alert = news.alert
    good = [one.good_since for one in alert.lines if one.good_since is not None]
    until = min(good, default=news.at) if alert.kind == "unit" else max(good, default=news.at)
    values = {
        "span": t.span(max(0.0, (until - alert.since).total_seconds())),
        "from_": t.minute(alert.since),
        "to": t.minute(until),
    }
    silent = t.text("Silent for {span}: {from_} to {to}.", **values)
    said = [silent if alert.trouble == "silent" else t.text("Short for {span}: {from_} to {to}.", **values)]
    status = seen.get(alert.lines[0].id)
    if alert.kind == "line" and alert.lines[0].end == "unregistered":
        said.append(t.text("The line is not in the registry any more."))
    elif alert.kind == "line" and alert.lines[0].end == "not_assessable":
        said.append(t.text("It can't be judged any more: its plan or the unit's port is below the target."))
    elif alert.kind == "line" and status is not None and status.judgement.median_mbps is not None:
        judged = status.judgement
        values = {"median": t.mbps(judged.median_mbps or 0, judged.target_mbps), "target": t.target(judged.target_mbps)}
        said.append(t.text("Now {median} of {target} Mb/s.", **values))
        if alert.trouble == "silent" and judged.state == "short":
            said.append(t.text("It is short of its target."))
    elif alert.kind in ("isp", "area"):
        said.append(t.text("{n} of {lines} are well.", n=t.number(len(alert.lines) - len(news.still), 0),
                           lines=_lines(len(alert.lines), t)))  # fmt: skip
    still = [_short_name(one, seen) for one in news.still if (s := seen.get(one.id)) is None or wants(s.row)]
    if still:
        named = "; ".join(still[:MAX_NAMED]) + ("…" if len(still) > MAX_NAMED else "")
        said.append(t.text("Not yet well: {lines}.", lines=named))
    return said


def _short_name(one: AlertedLine, seen: Seen) -> str:
    status = seen.get(one.id)
    return f"{one.agent} / {one.line}" if status is None else f"{place_name(status.row)} · {line_name(status.row)}"


def _end_of(alert: Alert, t: Texts) -> tuple[str, str]:
    """Mark and word of an end."""
    if all(one.end is not None for one in alert.lines):
        return LOOKS["not_assessable"].mark, t.text("NO LONGER WATCHED")
    return LOOKS["meeting"].mark, t.text("HEARD AGAIN") if alert.trouble == "silent" else t.text("WELL AGAIN")


def _lines(n: int, t: Texts) -> str:
    return t.plural("{n} line", "{n} lines", n)
