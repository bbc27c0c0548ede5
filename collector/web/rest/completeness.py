"""Completeness over REST: whether what the units promised is stored."""

import datetime as dt

from collector.completeness.completeness import DAYS, CompletenessSnapshot, LineCompleteness
from collector.store.line_id import LineId
from collector.web.context import Context
from collector.web.errors import not_counted_yet
from collector.web.parameters import NoParameters
from collector.web.responses import Answer
from collector.web.views import View
from xomnet.registry.registry import LineRow


class Gap(View, frozen=True, kw_only=True, omit_defaults=True):
    """A manifest of a unit, and what of it nothing accounts for."""

    spool: str
    first_seq: int
    last_seq: int
    at: dt.datetime
    missing: int
    seqs: list[tuple[int, int]]
    """From and to, at most 50: numbers of the range that no result has. Another line of the unit may miss some too."""
    digest_differs: bool = False
    """As many as promised are stored, but not the same ones: two units with one spool?"""


class LineCompletenessView(View, frozen=True, kw_only=True, omit_defaults=True):
    """Of a line, or without `line` of the unit itself, in the last 30 days; expected is the sum of the next four."""

    agent: str
    line: str | None = None
    expected: int
    stored: int
    rejected: int
    evicted: int
    missing: int
    ratio: float | None = None
    """Stored over expected."""
    waiting: int
    """Manifests some of whose results may still come; they are not counted yet."""
    gaps: list[Gap]
    """At most 20, newest first."""


class CompletenessView(View, frozen=True, kw_only=True, omit_defaults=True):
    computed_at: dt.datetime
    days: int
    missing: int
    ratio: float | None = None
    """The mean over lines: each weighs the same."""
    lines: list[LineCompletenessView]
    """Every registered line, and what else had a manifest; most missing first."""


def get_completeness(context: Context, _: NoParameters) -> Answer:
    found = context.services.completeness.latest
    if found is None:
        raise not_counted_yet()
    return Answer(completeness_view(found, context.services.registry().current(context.now())))


def completeness_view(found: CompletenessSnapshot, registered: list[LineRow]) -> CompletenessView:
    """What was found of every line, also of those without a manifest."""
    lines = {*found.lines, *(LineId.of(row) for row in registered)}
    views = [_line_view(line, found.line(line)) for line in sorted(lines)]
    return CompletenessView(
        computed_at=found.at,
        days=DAYS,
        missing=found.missing,
        ratio=found.ratio,
        lines=sorted(views, key=lambda one: -one.missing),
    )


def _line_view(line: LineId, one: LineCompleteness) -> LineCompletenessView:
    gaps = sorted(one.gaps, key=lambda gap: gap.receipt.at, reverse=True)[:20]
    return LineCompletenessView.of(
        one.tally,
        agent=line.agent,
        line=line.line or None,
        waiting=one.waiting,
        gaps=[
            Gap.of(
                gap.receipt,
                first_seq=gap.receipt.span.first,
                last_seq=gap.receipt.span.last,
                missing=gap.tally.missing,
                seqs=list(gap.unaccounted[:50]),
                digest_differs=gap.digest_differs,
            )
            for gap in gaps
        ],
    )
