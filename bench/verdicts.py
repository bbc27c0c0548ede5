"""How right state and verdict are: `python -m bench verdicts` judges simulated lines, and writes `results/verdicts.*`.

A line's figures are log-normal around its true median, which is that of all tests of the schedule. In the peak
hours they are lower, a part of their scatter lasts for hours (autocorrelation), tests are missing; outages are
tests of 0. Beside each rule stands the naive one: short, or not met, by a single test.
"""

import datetime as dt
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import NormalDist
from typing import Any

from bench.runs import write
from collector.commands import confirmation
from collector.judge.assess import JudgingRules
from collector.judge.change_detector import Follower, Step, log_ratio
from collector.judge.verdict import Month, Verdict, verdict_of
from collector.store.row_types import Sample
from xomnet.plan import METERED, PROVINCE_TIME, UNMETERED, is_peak

TARGET = 100.0
SLOTS: Mapping[int, tuple[tuple[int, int], ...]] = {plan.tests: plan.slots for plan in (METERED, UNMETERED)}
"""By tests a day."""
HOUR_S, DAY_S = 3600.0, 86_400.0
GAP_S = confirmation.PACE.gap.total_seconds()
MONTH = Month(2026, 11)
LEVELS, SCATTERS = (0.7, 0.9, 0.95, 1.0, 1.05, 1.1, 1.3), (0.2, 0.4, 0.6)


@dataclass(frozen=True, slots=True)
class Way:
    """How lines are, beside level and scatter."""

    name: str
    evening: float = 1.0
    """What the evenings give of the rest of the day."""
    lasting: float = 0.0
    """The part of the variance that lasts for hours: correlated 0.5 after six hours."""
    missing: float = 0.0
    """Tests that were not made."""
    outages: float = 0.0
    """Outages a day, of six hours in the mean; the line's tests are 0 then. They are part of the true median."""


WAYS = (
    Way("plain"),
    Way("evening", evening=0.7),
    Way("lasting", lasting=0.3),
    Way("outages, missing", missing=0.15, outages=0.05),
    Way("all", evening=0.7, lasting=0.3, missing=0.15, outages=0.05),
)


class Line:
    """Figures of a line by time in seconds, which must not go back; `level` is its true median over the target."""

    def __init__(self, level: float, cv: float, way: Way, per_day: int, seed: str) -> None:
        self._draw = random.Random(seed)  # noqa: S311  # a simulation
        self.level, self._way, self._slots = level, way, SLOTS[per_day]
        self._sigma = math.sqrt(math.log(1 + cv * cv))
        self._offset = _offset(self._sigma, way, self._slots)
        self._lasting, self._at = self._draw.gauss(0, 1), 0.0
        self._down_until = 0.0
        self.falls_at, self.falls_to = math.inf, level

    def times(self, days: int) -> Iterator[float]:
        """When the schedule's tests are made."""
        for day in range(days):
            for start, end in self._slots:
                at = day * DAY_S + HOUR_S * self._draw.uniform(start, end)
                if self._draw.random() >= self._way.missing:
                    yield at

    def mbps(self, at: float) -> float:
        way, draw = self._way, self._draw
        since, self._at = at - self._at, at
        kept = 0.5 ** (since / (6 * HOUR_S))
        self._lasting = kept * self._lasting + math.sqrt(1 - kept * kept) * draw.gauss(0, 1)
        if way.outages and draw.random() < 1 - math.exp(-way.outages * since / DAY_S):
            self._down_until = max(self._down_until, at - since * draw.random() + draw.expovariate(1 / (6 * HOUR_S)))
        noise = math.sqrt(way.lasting) * self._lasting + math.sqrt(1 - way.lasting) * draw.gauss(0, 1)
        if at < self._down_until:
            return 0.0
        evening = math.log(way.evening) if is_peak(at / HOUR_S % 24) else 0.0
        level = self.level if at < self.falls_at else self.falls_to
        return TARGET * level * math.exp(self._offset + evening + self._sigma * noise)


def _offset(sigma: float, way: Way, slots: tuple[tuple[int, int], ...]) -> float:
    """What makes the median of all tests, evenings and outages among them, that of the line."""
    evenings = sum(is_peak(start) for start, _ in slots) / len(slots)
    down = way.outages * 0.25 / (1 + way.outages * 0.25)
    low, high = -2.0, 2.0
    for _ in range(50):
        middle = (low + high) / 2
        normal = NormalDist(0, sigma)
        below = (1 - evenings) * normal.cdf(middle) + evenings * normal.cdf(middle - math.log(way.evening))
        low, high = (low, middle) if down + (1 - down) * below > 0.5 else (middle, high)
    return -low


# --- the state


@dataclass(frozen=True, slots=True)
class Asking:
    """How many confirmation tests follow a scheduled one, and in a day, while a line is likely below its target."""

    after_each: int = 0
    a_day: int = 0


ASKINGS = {"none": Asking(), "asked": Asking(confirmation.ROUND, confirmation.MAX_A_DAY)}


def followed(line: Line, days: int, asking: Asking) -> Iterator[tuple[float, float, Step, bool]]:
    """Of each test: time, figure, what is known after it, and whether it was asked for."""
    follower = Follower(JudgingRules().window.total_seconds())
    times = [*line.times(days), math.inf]
    asked: list[float] = []
    for at, following in pairwise(times):
        value = line.mbps(at)
        step = follower.step(at, log_ratio(value, TARGET))
        yield at, value, step, False
        more, now = 0, at + GAP_S
        while step.leaning and more < asking.after_each and now < following - GAP_S / 4:
            asked = [one for one in asked if now - one < DAY_S]
            if len(asked) >= asking.a_day:
                break
            value = line.mbps(now)
            step = follower.step(now, log_ratio(value, TARGET))
            yield now, value, step, True
            asked.append(now)
            more, now = more + 1, now + GAP_S


def alerts_a_year(level: float, cv: float, way: Way, asking: Asking, years: int, per_day: int = 4) -> dict[str, float]:
    """How often a steady line is called short, by us and by the naive rule; and how many tests are asked for, a day."""
    short = naive = asked = 0
    for year in range(years):
        was, was_low = "uncertain", False
        for _, value, step, extra in followed(Line(level, cv, way, per_day, f"{year}/{level}/{cv}"), 365, asking):
            short += step.level == "short" != was
            asked += extra
            if not extra:
                naive += value < TARGET and not was_low
                was_low = value < TARGET
            was = step.level
    return {"ours": short / years, "naive": naive / years, "asked a day": asked / years / 365}


def falls_found(
    cv: float, way: Way, asking: Asking, runs: int, hours: tuple[int, ...] = (24, 48, 72, 168), per_day: int = 4
) -> dict[str, float]:
    """The share of falls from 1.1 to 0.7 of the target, at any hour of a day, that are called short in time."""
    found = dict.fromkeys(hours, 0)
    counted = 0
    for run in range(runs):
        line = Line(1.1, cv, way, per_day, f"fall/{run}/{cv}")
        fall, was, late = (24 + run / runs) * DAY_S, False, math.inf
        line.falls_at, line.falls_to = fall, 0.7
        for at, _, step, _ in followed(line, 33, asking):
            if at < fall:
                was = step.level == "short"
            elif was:
                break
            elif step.level == "short":
                late = at - fall
                break
        counted += not was
        for hour in hours:
            found[hour] += late <= hour * HOUR_S
    return {f"{hour} h": number / counted for hour, number in found.items()}


# --- the verdict


def verdicts(level: float, cv: float, way: Way, months: int, per_day: int = 4) -> tuple[list[Verdict], int]:
    """The verdicts of a number of months, and how many the naive rule, the last test, would call not met."""
    since = MONTH.since(PROVINCE_TIME)
    found, naive = [], 0
    for month in range(months):
        line = Line(level, cv, way, per_day, f"month/{month}/{level}/{cv}")
        figures = [(at, line.mbps(at)) for at in line.times(MONTH.days)]
        samples = [Sample(since + dt.timedelta(seconds=at), value) for at, value in figures]
        found.append(verdict_of(samples, TARGET, MONTH, per_day, MONTH.until()))
        naive += figures[-1][1] < TARGET
    return found, naive


def wrong(level: float, verdict: str) -> bool:
    """As the bar has it: met below 0.95 of the target, not met above 1.05."""
    return (level < 0.95 and verdict == "met") or (level > 1.05 and verdict == "not_met")


# --- all of it, written down


def main(*_: str) -> int:
    """About ten minutes."""
    found: dict[str, Any] = {"false": [], "falls": [], "months": []}
    for per_day, (name, asking), way, cv in product(SLOTS, ASKINGS.items(), WAYS, SCATTERS):
        years, runs = (100, 1000) if way.name == "plain" and cv == 0.4 else (20, 200)
        row = {"tests a day": per_day, "confirmations": name, "way": way.name, "cv": cv}
        found["false"].append({**row, **alerts_a_year(1.1, cv, way, asking, years, per_day)})
        found["falls"].append({**row, **falls_found(cv, way, asking, runs, per_day=per_day)})
        print(found["false"][-1], found["falls"][-1], flush=True)
    for way, cv, level in product(WAYS, SCATTERS, LEVELS):
        made, naive = verdicts(level, cv, way, 40)
        counts = {name: sum(v.verdict == name for v in made) for name in ("met", "not_met", "not_certain")}
        found["months"].append(
            {"way": way.name, "cv": cv, "level": level, "months": len(made), **counts, "naive_not_met": naive}
        )
    write("verdicts", found, report(found))
    return 0


def bars(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Each bar: what it asks, what was found, whether it is reached."""

    def cell(table: str, per_day: int, confirmations: str, cv: float = 0.4) -> dict[str, Any]:
        wanted = {"tests a day": per_day, "confirmations": confirmations, "cv": cv, "way": "plain"}
        return next(row for row in found[table] if wanted.items() <= row.items())

    judged = [row for row in found["months"] if row["level"] < 0.95 or row["level"] > 1.05]
    mistaken = sum(row["met" if row["level"] < 0.95 else "not_met"] for row in judged)
    share = mistaken / sum(row["months"] for row in judged)
    worst = max(judged, key=lambda row: row["met" if row["level"] < 0.95 else "not_met"] / row["months"])
    worst_share = worst["met" if worst["level"] < 0.95 else "not_met"] / worst["months"]
    rows = [
        ("wrong monthly verdicts, all ways, at most 2.5 %", f"{share:.2%}", share <= 0.025),
        (
            f"the worst of the cells (level {worst['level']}, CV {worst['cv']}, {worst['way']}), at most 2.5 %",
            f"{worst_share:.1%}",
            worst_share <= 0.025,
        ),
    ]
    names = {"none": "without confirmation tests", "asked": "with confirmation tests"}
    for per_day, name in product(SLOTS, ASKINGS):
        row = cell("false", per_day, name)
        what = f"false alerts a line and year at 1.1, CV 0.4, {per_day} tests a day, {names[name]}: at most 1"
        rows.append((f"{what} (naive: {row['naive']:.0f})", f"{row['ours']:.2f}", row["ours"] <= 1))
    for per_day, (name, hours), cv in product(SLOTS, (("none", "72 h"), ("asked", "24 h")), SCATTERS):
        share = cell("falls", per_day, name, cv)[hours]
        what = f"falls to 0.7 found within {hours}, CV {cv}, {per_day} tests a day, {names[name]}: at least 90 %"
        rows.append((what, f"{share:.1%}", share >= 0.9))
    return rows


def _words(way: Way) -> str:
    known = {
        f"evenings give {way.evening:g} of the day": way.evening < 1,
        f"{way.lasting:.0%} of the variance lasts for hours (correlated 0.5 after six)": way.lasting > 0,
        f"{way.missing:.0%} of the tests are missing": way.missing > 0,
        f"an outage of six hours every {1 / max(way.outages, 1e-9):.0f} days": way.outages > 0,
    }
    return "; ".join(words for words, holds in known.items() if holds) or "log-normal, independent"


def report(found: dict[str, Any]) -> str:
    """The results as a page."""
    asked = ASKINGS["asked"]
    lines = ["# State and verdict, simulated", ""]
    lines += [
        "Written by `python -m bench verdicts`. Months are of four tests a day. Confirmation tests: at most"
        f" {asked.after_each} after each test of the schedule, {asked.a_day} a day.",
        "",
    ]
    lines += ["| bar | found | |", "|---|---|---|"]
    lines += [f"| {what} | {value} | {'reached' if good else '**not reached**'} |" for what, value, good in bars(found)]
    lines += [
        "",
        "Outages of the way *outages* are real: of its alerts, most are of lines that were down for hours.",
        "",
    ]
    lines += [f"- {way.name}: {_words(way)}" for way in WAYS] + [""]
    for title, table in (
        ("Alerts a line and year, true median 1.1 of the target", "false"),
        ("Falls from 1.1 to 0.7: share found within", "falls"),
        ("Verdicts of months", "months"),
    ):
        names = list(found[table][0])
        lines += [f"## {title}", "", f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
        lines += [
            "| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |"
            for row in found[table]
        ]
        lines.append("")
    return "\n".join(lines)
