"""Units over REST, and the messages of units that were refused."""

from collector.judge.line_tracker import LOOK_BACK
from collector.web import views
from collector.web.context import Context
from collector.web.parameters import NoParameters
from collector.web.responses import Answer


async def list_agents(context: Context, _: NoParameters) -> Answer:
    now, services = context.now(), context.services
    health = await context.reads.read(lambda store: store.health(now - LOOK_BACK, raw=True))
    registered = services.registry().current(now)
    return Answer(views.Agents(agents=views.agent_views(services.agents.agents(), registered, health)))


def list_rejected(context: Context, _: NoParameters) -> Answer:
    letters = context.services.dead_letters
    return Answer(views.RejectedView(counts=letters.counts(), rejected=letters.recent()))
