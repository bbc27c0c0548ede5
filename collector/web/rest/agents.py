"""Units over REST, and the messages of units that were refused."""

from collector.judge.line_tracker import LOOK_BACK
from collector.web import views
from collector.web.context import Context
from collector.web.csv_export import csv_file
from collector.web.errors import unknown_unit
from collector.web.parameters import NoParameters, Parameters
from collector.web.responses import Answer
from collector.web.rest.lines import Format, Since, Until, time_range


async def list_agents(context: Context, _: NoParameters) -> Answer:
    now, services = context.now(), context.services
    health = await context.reads.read(lambda store: store.health(now - LOOK_BACK, raw=True))
    registered = services.registry().current(now)
    return Answer(views.Agents(agents=views.agent_views(services.agents.agents(), registered, health)))


class EventParameters(Parameters, frozen=True, kw_only=True, rename={"from_": "from"}):
    agent: str
    from_: Since = None
    to: Until = None
    format: Format = "json"


async def list_events(context: Context, given: EventParameters) -> Answer:
    since, until = time_range(given.from_, given.to, context.now())
    if not context.services.registry_with_removed().has_agent(given.agent):
        raise unknown_unit(given.agent)
    rows = await context.reads.read(lambda store: store.events(None, since, until, given.agent))
    results = views.event_views(rows)
    if given.format == "csv":
        return Answer(csv_file(f"{given.agent}_events.csv", views.EventView, results))
    return Answer(views.EventHistory(agent=given.agent, from_=since, to=until, results=results))


def list_rejected(context: Context, _: NoParameters) -> Answer:
    letters = context.services.dead_letters
    return Answer(views.RejectedView(counts=letters.counts(), rejected=letters.recent()))
