"""The unit's page for a phone: findings of the checks and the status. It looks like the collector's page."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.status.status import AgentStatus, LineReport
from agent.status.wording import bytes_used
from xomnet import access
from xomnet.check.finding import MARKS, Finding, Mark
from xomnet.check.outcome import conclusion
from xomnet.check.texts import LANGUAGES, CheckTexts, Language
from xomnet.states import LOOKS

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
TONES: dict[Mark, str] = {
    "ok": LOOKS["meeting"].colour,
    "warn": LOOKS["uncertain"].colour,
    "fail": LOOKS["short"].colour,
    "skip": LOOKS["silent"].colour,
}
SOON_S, LATER_S = 2, 30
"""After how many seconds the page reloads: while the checks run, and otherwise."""
LOGO = (
    '<svg class="logo" viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">'
    '<path d="M2 20V12l5-4 5 4v8z"/><path d="M15 20V9M19 20V5M23 20V2"/></svg>'
)


def language_of(requested: str) -> Language:
    """English if it is asked for, else Vietnamese."""
    return "en" if requested == "en" else "vi"


def html(
    status: AgentStatus,
    zone: ZoneInfo,
    found: Sequence[Finding] | None,
    age_s: float,
    running: bool,
    language: Language,
) -> str:
    """The whole page. `found` is None before the first round of checks has ended."""
    t = CheckTexts(language)
    other = next(one for one in LANGUAGES if one != language)
    tones = "".join(f".{mark}{{--state:{colour}}}" for mark, colour in TONES.items())
    headline = t.text("Checking …") if found is None else conclusion(found, t)
    when = t.text("checking …") if running else t.text("checked {span} ago", span=t.span(age_s))
    word = {"en": "English", "vi": "Tiếng Việt"}[other]
    return f"""<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="{SOON_S if running else LATER_S}; url=/?lang={language}">
<title>{escape(status.agent)} · xomnet</title>
<style>{tones}{STYLE}</style>
</head>
<body>
<header class="top"><span class="brand">{LOGO}xomnet</span><span class="what">{escape(status.agent)}</span>
<nav><a href="/?lang={other}" hreflang="{other}" lang="{other}">{word}</a></nav></header>
<main>
<section class="head {_tone(found)}"><h1>{escape(headline)}</h1>
<p class="quiet">{escape(when)} · <a href="/?again=1&amp;lang={language}">{escape(t.text("check again"))}</a></p>
</section>
<ul class="findings">{"".join(_row(one, t) for one in found or ())}</ul>
{_facts(status, t, zone)}
{"".join(_line(line, status, t, zone) for line in status.lines)}
</main>
<footer><p><a href="/status.json">JSON</a> · xomnet {escape(status.version)}</p></footer>
</body>
</html>
"""


def _tone(found: Sequence[Finding] | None) -> Mark:
    marks = {one.mark for one in found or ()}
    return "skip" if found is None else "fail" if "fail" in marks else "warn" if "warn" in marks else "ok"


def _row(one: Finding, t: CheckTexts) -> str:
    remedy = "" if one.remedy is None else f'<p class="remedy">→ {escape(t.sentence(one.remedy))}</p>'
    return (
        f'<li class="{one.mark}"><span class="sign">{MARKS[one.mark]}</span>'
        f"<b>{escape(t.name(one.name))}</b><p>{escape(t.sentences(one.found))}</p>{remedy}</li>"
    )


def _facts(status: AgentStatus, t: CheckTexts, zone: ZoneInfo) -> str:
    last = t.text("none yet") if status.last_ack_age_s is None else _ago(status.last_ack_age_s, t)
    facts = [
        (t.text("Service running since"), f"{t.moment(status.since, zone)} ({t.span(status.up_s)})"),
        (t.text("Broker"), t.text("connected") if status.connected else t.text("not connected")),
        (t.text("Last answer of the collector"), last),
        (t.text("Results waiting"), "?" if status.waiting is None else t.number(status.waiting)),
        (t.text("Stored since the start"), t.number(status.stored)),
    ]
    if status.rejected:
        facts.append((t.text("Rejected since the start"), f"{t.number(status.rejected)}: {status.rejection}"))
    return _definition_list(facts)


def _line(line: LineReport, status: AgentStatus, t: CheckTexts, zone: ZoneInfo) -> str:
    facts = [(t.text("Last test"), _last_test(line, t, zone))]
    if line.next_test_at is not None and status.clock_known:
        facts.append((t.text("Next test"), t.moment(line.next_test_at, zone)))
    facts.append((t.text("Bytes this month"), bytes_used(line, t)))
    kind = t.text("{access} line", access=access.word(line.access, t.language))
    where = "" if line.interface is None else f", {line.interface}"
    return f'<h2>{escape(line.line)} <span class="quiet">{escape(kind + where)}</span></h2>{_definition_list(facts)}'


def _last_test(line: LineReport, t: CheckTexts, zone: ZoneInfo) -> str:
    if line.testing:
        return t.text("running now")
    if line.last_test_at is None:
        return t.text("none since the start")
    what = line.last_error if line.last_mbps is None else t.text("{n} Mb/s", n=line.last_mbps)
    return f"{what}, {t.moment(line.last_test_at, zone)}"


def _ago(seconds: float, t: CheckTexts) -> str:
    return t.text("{span} ago", span=t.span(seconds))


def _definition_list(facts: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"
