"""What monitoring asks of the collector: health and metrics; and the description of the interface."""

import datetime as dt
import sqlite3

from msgspec import Raw
from starlette.concurrency import run_in_threadpool

from collector.alerts.dispatcher import Dispatcher
from collector.store.errors import StoreUnavailable
from collector.web import views
from collector.web.context import Context
from collector.web.parameters import AnyParameters
from collector.web.responses import Answer, MetricsText
from xomnet import __version__


async def check_health(context: Context, _: AnyParameters) -> Answer:
    services = context.services
    parts = {
        "store": await _store_health(context),
        "broker": services.agents.trouble() or "ok",
        "snapshot": _snapshot_health(context, context.now()),
    }
    if services.dispatcher is not None:
        parts["notify"] = await run_in_threadpool(_notify_health, services.dispatcher, context.now())
    ok = all(part == "ok" for part in parts.values())
    check = views.HealthCheck(status="ok" if ok else "failing", version=__version__, **parts)
    return Answer(check) if ok else Answer(check, 503, {"Retry-After": "5"})


def read_metrics(context: Context, _: AnyParameters) -> Answer:
    return Answer(MetricsText(context.services.metrics.text()))


def get_openapi(context: Context, _: AnyParameters) -> Answer:
    return Answer(Raw(context.openapi))


async def _store_health(context: Context) -> str:
    try:
        await context.reads.ping()
    except StoreUnavailable as error:
        return f"unavailable: {error}"
    return "ok"


def _snapshot_health(context: Context, now: dt.datetime) -> str:
    snapshot = context.services.lines.latest
    if snapshot is None:
        return "not taken yet"
    age, limit = (now - snapshot.at).total_seconds(), context.max_snapshot_age_s
    return "ok" if age <= limit else f"too old: {age:.0f} s, at most {limit:.0f} s"


def _notify_health(dispatcher: Dispatcher, now: dt.datetime) -> str:
    try:
        return dispatcher.trouble(now) or "ok"
    except sqlite3.Error as error:
        return f"the alert book can't be read: {error}"
