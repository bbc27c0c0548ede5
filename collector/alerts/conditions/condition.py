"""What a condition consists of: when it opens and ends, what its lines may have in common, and what is said of it."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from collector.alerts.alert import Alert, AlertRules, End
from collector.alerts.evidence import Evidence
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from xomnet.states import State

Wide = Literal["area", "isp"]
"""The places whose lines may have a common cause."""


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What the texts of a line's or a unit's new alert are made of; `status` is of its first line."""

    alert: Alert
    status: LineStatus
    evidence: Evidence
    window_s: float
    now: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTexts:
    """What is said of a condition. A text is an English message id; its placeholders are filled where it is used."""

    opening: Callable[[AlertFacts, Texts], list[str]]
    """The sentences that a new alert begins with."""
    first_checks: Callable[[AlertFacts, Texts], list[str]]
    """At most three things to check at a line or a unit, the likeliest first."""
    area_check: str
    """What to check if most lines of an area have it."""
    isp_check: str
    """What to check if most lines of a provider have it."""
    together: str
    """Of a common cause: {n} of {lines} came into it, from {moment} on."""
    lasted: str
    """Of its end: how long it lasted ({span}), {from_} when {to} when."""
    end_word: str
    """What stands in the place of the state's word when it has ended."""
    end_note: str | None = None
    """Said of a line that is in this condition when the alert of another condition ends."""
    count: str
    """{n} lines have it, for the title of the digest."""
    digest: Callable[[Sequence[LineStatus], dt.datetime, Texts], list[str]]
    """The digest's part about some lines that have it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrafanaRule:
    """What Grafana's rule says beside the state: both texts are English message ids."""

    wait: str
    """How long it must be due before it fires (`for`), as Grafana writes it: over a missed minute, no longer."""
    description: str
    """Its placeholders are fields of `line_state`."""
    check: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A state of a line that people are alerted of."""

    state: State
    """Also its name in alerts.db, over REST and in Grafana; gives mark, word and colour."""
    opens: Callable[[LineStatus, AlertRules, dt.datetime], dt.datetime | None]
    """Since when a line has it; None if it has not, or not for long enough to be reported."""
    is_over: Callable[[LineStatus], bool]
    """True if a line is well of it. If a line is neither in it nor well, nobody knows, and its alert stays as it is."""
    ends_as: Mapping[State, End] = field(default_factory=dict)
    """States that end it although the line is not well of it."""
    leans: Callable[[LineStatus], bool]
    """True if a line is on its way into it."""
    would_show: Callable[[LineStatus, dt.datetime], bool]
    """True if a line that does not have it would have it by now, had it a cause that began at that time."""
    group_window: Callable[[AlertRules], dt.timedelta]
    """Lines that come into it within this time of each other may have a common cause."""
    straggler_wait: dt.timedelta = dt.timedelta()
    """A common cause waits for so long if lines lean to it, even if the settings say less."""
    likelier_cause: Wide
    """Of an area and a provider that explain it equally well, which is named."""
    by_unit: bool = False
    """True if it may be the whole unit's: its lines share one alert, and wait for each other."""
    from_tests: bool = False
    """True if speed tests show it: what else they say is looked up for the first checks."""
    texts: ConditionTexts
    grafana: GrafanaRule
