"""A line is below its target. Only a line that meets the target again ends it: uncertainty or silence does not."""

import datetime as dt
from collections.abc import Sequence

from collector.alerts.alert import AlertRules
from collector.alerts.conditions.condition import AlertFacts, Condition, ConditionTexts, GrafanaRule
from collector.alerts.evidence import Evidence
from collector.alerts.phrases import line_name, place_name, shorten, since_sentence, speed_sentence
from collector.alerts.remediation import checks_of
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from collector.texts.words import count_exclusions, excluded_sentence
from xomnet.states import LOOKS, State

STATE: State = "short"


def _opens(status: LineStatus, rules: AlertRules, now: dt.datetime) -> dt.datetime | None:
    return (status.judgement.since or now) if status.judgement.state == STATE else None


def _leans(status: LineStatus) -> bool:
    return status.judgement.leaning and status.judgement.state != STATE


def _would_show(status: LineStatus, began: dt.datetime) -> bool:
    """It was tested since then."""
    tested = any(sample.at > began for sample in status.samples if sample.excluded is None)
    return tested and status.judgement.state in ("meeting", "uncertain")


def _opening(facts: AlertFacts, t: Texts) -> list[str]:
    speed = speed_sentence(facts.status, facts.window_s, t)
    said = [] if speed is None else [speed + _confirmed(facts.evidence, t) + "."]
    excluded = excluded_sentence(count_exclusions(s.excluded for s in facts.status.samples), facts.window_s, t)
    return [*said, *([] if excluded is None else [excluded]), _before(facts, t)]


def _confirmed(evidence: Evidence, t: Texts) -> str:
    if not evidence.confirmations or evidence.confirmed_at is None:
        return ""
    number = t.plural("{n} confirmation test", "{n} confirmation tests", evidence.confirmations)
    return ", " + t.text("{tests}, the last at {moment}", tests=number, moment=t.minute(evidence.confirmed_at))


def _before(facts: AlertFacts, t: Texts) -> str:
    judged, evidence = facts.status.judgement, facts.evidence
    before = judged.before_mbps or evidence.before_mbps
    said = since_sentence(facts.alert.since, facts.now, t) + "."
    if before is None:
        return said
    figure = t.mbps(before, judged.target_mbps)
    if before < judged.target_mbps or not evidence.met_days:
        return said + " " + t.text("Before that {median} Mb/s.", median=figure)
    days = t.plural("{n} day", "{n} days", evidence.met_days)
    return said + " " + t.text("Before that {median} Mb/s, meeting the target for {days}.", median=figure, days=days)


def _first_checks(facts: AlertFacts, t: Texts) -> list[str]:
    """From what the results say; if they say nothing, the usual order."""
    if found := checks_of(facts.evidence, t):
        return found
    if facts.status.row.access == "mobile":
        return [t.text("antenna and position, the plan's data, then the provider")]
    return [t.text("router and cable, who else is on the line, then the provider")]


def _digest(lines: Sequence[LineStatus], now: dt.datetime, t: Texts) -> list[str]:
    said = []
    for s in lines:
        judged = s.judgement
        if judged.median_mbps is None or judged.ratio is None:
            continue
        figures = t.text(
            "{median} Mb/s, {ratio} of the target ({target} Mb/s)",
            median=t.mbps(judged.median_mbps, judged.target_mbps),
            target=t.target(judged.target_mbps),
            ratio=t.percent(judged.ratio),
        )
        since = "" if judged.since is None else ", " + t.text("since {moment}", moment=t.minute(judged.since))
        said.append(f"{LOOKS[STATE].mark} {place_name(s.row)} · {line_name(s.row)}: {figures}{since}")
    return shorten(said, t)


CONDITION = Condition(
    state=STATE,
    opens=_opens,
    is_over=lambda status: status.judgement.state == "meeting",
    ends_as={"not_assessable": "not_assessable"},
    leans=_leans,
    would_show=_would_show,
    group_window=lambda rules: rules.group_window_short,
    likelier_cause="isp",
    from_tests=True,
    texts=ConditionTexts(
        opening=_opening,
        first_checks=_first_checks,
        area_check="ask the providers of the area; is one measurement server slow?",
        isp_check="ask the provider; the units and their power are not the cause",
        together="{n} of {lines} fell below target together, from {moment}.",
        lasted="Below target for {span}: {from_} to {to}.",
        end_word="MEETING AGAIN",
        end_note="The line is below its target.",
        count="{n} below",
        digest=_digest,
    ),
    grafana=GrafanaRule(
        wait="3m",
        description="Download {median_mbps} Mb/s, {ratio} of the target ({target_mbps} Mb/s), {samples} tests. "
        "For {since_s}.",
        check="mobile: aerial and position, the plan's data; fixed: router and cable, who else is on the line; "
        "then the provider",
    ),
)
