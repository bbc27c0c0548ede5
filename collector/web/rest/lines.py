"""Lines over REST: how they are judged."""

import datetime as dt

from collector.store.line_id import LineId
from collector.web import views
from collector.web.context import Context
from collector.web.errors import not_judged_yet, removed_line, unknown_line
from collector.web.line_filter import FilterParameters
from collector.web.parameters import LineParameters
from collector.web.responses import Answer


def list_lines(context: Context, given: FilterParameters) -> Answer:
    chosen, snapshot, now = given.filter(), context.snapshot(), context.now()
    completeness = context.services.completeness.latest
    lines = [views.line_view(status, now, completeness) for status in snapshot.lines if chosen.matches(status)]
    return Answer(views.Lines(computed_at=snapshot.at, lines=lines))


def get_line(context: Context, given: LineParameters) -> Answer:
    now = context.now()
    line = registered_line(context, LineId(given.agent, given.line), now)
    ended = context.services.registry_with_removed().end_of(*line)
    if ended is not None:
        raise removed_line(*line, ended)
    status = context.snapshot().line(*line)
    if status is None:  # registered since the last snapshot
        raise not_judged_yet()
    return Answer(views.line_view(status, now, context.services.completeness.latest))


def registered_line(context: Context, line: LineId, now: dt.datetime) -> LineId:
    """A line that is in the registry, or was: its stored results stay. Raises RequestError."""
    if context.services.registry_with_removed().latest(*line, now) is None:
        raise unknown_line(*line)
    return line
