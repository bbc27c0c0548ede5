"""Units over REST, and the messages of units that were refused."""

from collector.judge.line_tracker import LOOK_BACK
from collector.store import Store
from collector.web import views
from collector.web.context import Context
from collector.web.parameters import NoParameters
from collector.web.responses import Answer


async def list_agents(context: Context, _: NoParameters) -> Answer:
    now, services = context.now(), context.services

    def read(store: Store) -> list[views.Agent]:
        health = store.health(now - LOOK_BACK, raw=True)
        return views.agent_views(services.agents.agents(), services.registry().current(now), health)

    return Answer(views.Agents(agents=await context.reads.read(read)))


def list_rejected(context: Context, _: NoParameters) -> Answer:
    letters = context.services.dead_letters
    return Answer(views.RejectedView(counts=letters.counts(), rejected=letters.recent()))
