"""No result of a line has ever arrived, a day (`alerts.no_data_after_s`) after it came into the registry."""

import datetime as dt
from collections.abc import Sequence

from collector.alerts.alert import AlertRules
from collector.alerts.conditions.condition import AlertFacts, Condition, ConditionTexts, GrafanaRule
from collector.alerts.phrases import lines_phrase
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from xomnet.states import LOOKS, State

STATE: State = "no_data"


def _opens(status: LineStatus, rules: AlertRules, now: dt.datetime) -> dt.datetime | None:
    """Since the line was registered; where that is not known, it has no alert."""
    since = status.judgement.since
    if status.judgement.state != STATE or since is None or now - since < rules.no_data_after:
        return None
    return since


def _opening(facts: AlertFacts, t: Texts) -> list[str]:
    since = facts.alert.since
    values = {"moment": t.minute(since), "ago": t.ago(max(0.0, (facts.now - since).total_seconds()))}
    if facts.alert.kind == "unit":
        return [t.text("No result of this unit since it was registered at {moment} ({ago}).", **values)]
    return [t.text("No result of this line since it was registered at {moment} ({ago}).", **values)]


def _first_checks(facts: AlertFacts, t: Texts) -> list[str]:
    if facts.alert.kind == "unit":
        return [t.text("whether the unit is mounted and has power; its certificate; “xomnet agent check” on the unit")]
    return [t.text("whether the unit's settings name this line as the registry does")]


def _digest(lines: Sequence[LineStatus], now: dt.datetime, t: Texts) -> list[str]:
    """How many, without their names: most of them are of units that are not mounted yet."""
    if not lines:
        return []
    return [f"{LOOKS[STATE].mark} {t.text('No data yet: {lines}.', lines=lines_phrase(len(lines), t))}"]


CONDITION = Condition(
    state=STATE,
    opens=_opens,
    is_over=lambda status: status.judgement.state != STATE,
    leans=lambda status: status.judgement.state == STATE,
    would_show=lambda status, began: status.judgement.last_result_at is not None,
    group_window=lambda rules: rules.group_window,
    likelier_cause="area",
    by_unit=True,
    texts=ConditionTexts(
        opening=_opening,
        first_checks=_first_checks,
        area_check="whether the units of the area are mounted, and the network between the area and the server",
        isp_check="whether the units are mounted, and whether the provider lets them reach the server",
        together="{n} of {lines} have had no data since they were registered, from {moment}.",
        lasted="No data for {span}: {from_} to {to}.",
        end_word="FIRST RESULT",
        count="{n} without data yet",
        digest=_digest,
    ),
    grafana=GrafanaRule(
        wait="5m",
        description="No result has arrived since the line was registered, {since_s} ago.",
        check="whether the unit is mounted and has power; its certificate; the line's name in its settings",
    ),
)
