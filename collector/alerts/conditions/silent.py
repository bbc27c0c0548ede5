"""Nothing is heard of a line any more; any result ends it. If all lines of a unit are silent, so is the unit."""

import datetime as dt
from collections.abc import Sequence

from collector.alerts.alert import AlertRules
from collector.alerts.conditions.condition import AlertFacts, Condition, ConditionTexts, GrafanaRule
from collector.alerts.phrases import line_name, lines_phrase, place_name, shorten
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from xomnet.states import LOOKS, State

STATE: State = "silent"
PROBE_PACE = dt.timedelta(minutes=10)
"""Lines that fall silent together pass their time within the pace of the latency probes of each other."""


def _opens(status: LineStatus, rules: AlertRules, now: dt.datetime) -> dt.datetime | None:
    last = status.judgement.last_result_at
    if status.judgement.state != STATE or last is None or now - last < rules.silent_after:
        return None
    return last


def _leans(status: LineStatus) -> bool:
    return status.judgement.state == STATE


def _opening(facts: AlertFacts, t: Texts) -> list[str]:
    alert = facts.alert
    last = facts.status.judgement.last_result_at or alert.since
    values = {"moment": t.minute(last), "ago": t.ago(max(0.0, (facts.now - last).total_seconds()))}
    if alert.kind == "unit" and len(alert.lines) > 1:
        lines = lines_phrase(len(alert.lines), t)
        return [t.text("Last result at {moment} ({ago}). All {lines} of the unit are silent.", lines=lines, **values)]
    if alert.kind == "unit":
        return [t.text("Last result at {moment} ({ago}). It is the unit's only line.", **values)]
    return [t.text("Last result at {moment} ({ago}). Another line of the unit still reports.", **values)]


def _first_checks(facts: AlertFacts, t: Texts) -> list[str]:
    mobile = facts.status.row.access == "mobile"
    if facts.alert.kind == "unit":
        return [t.text("the unit's power, then its SIM and cable") if mobile or len(facts.alert.lines) > 1
                else t.text("the unit's power, then cable and router")]  # fmt: skip
    return [t.text("modem, SIM (plan, data), signal") if mobile else t.text("cable and router or ONT of this line")]


def _digest(lines: Sequence[LineStatus], now: dt.datetime, t: Texts) -> list[str]:
    """A row for each unit."""
    by_unit: dict[str, list[LineStatus]] = {}
    for s in lines:
        if s.judgement.last_result_at is not None:
            by_unit.setdefault(s.row.agent, []).append(s)
    said = []
    for agent, of in sorted(by_unit.items()):
        last = max(s.judgement.last_result_at for s in of if s.judgement.last_result_at is not None)
        heard = t.text("last result {ago}", ago=t.ago((now - last).total_seconds()))
        names = ", ".join(line_name(s.row) for s in of)
        said.append(f"{LOOKS[STATE].mark} {place_name(of[0].row)} · {agent} ({names}): {heard}")
    return shorten(said, t)


CONDITION = Condition(
    state=STATE,
    opens=_opens,
    is_over=lambda status: status.judgement.state not in (STATE, "no_data"),
    leans=_leans,
    would_show=lambda status, began: status.judgement.last_result_at is not None,
    group_window=lambda rules: rules.group_window,
    straggler_wait=PROBE_PACE,
    likelier_cause="area",
    by_unit=True,
    texts=ConditionTexts(
        opening=_opening,
        first_checks=_first_checks,
        area_check="power cut in the area, then the network between the area and the server",
        isp_check="ask the provider; the units and their power are not the cause",
        together="{n} of {lines} fell silent together, from {moment}.",
        lasted="Silent for {span}: {from_} to {to}.",
        end_word="REPORTING AGAIN",
        count="{n} silent",
        digest=_digest,
    ),
    grafana=GrafanaRule(
        wait="5m",
        description="The last result came {age_s} ago.",
        check="the unit's power, the modem's lights, the SIM's plan; if the whole area is silent, ask the provider",
    ),
)
