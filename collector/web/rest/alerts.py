"""Alerts over REST: what is open, who has acknowledged it, which lines are in maintenance.

Reading needs no token, changing does. The alerts are on a disk, which may be slow: never on the event loop.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta
from starlette.concurrency import run_in_threadpool

from collector.alerts.alert import Alert, Kind
from collector.alerts.conditions import CONDITIONS
from collector.alerts.outbox import FailedNotification, QueuedNotification
from collector.alerts.service import AlertService
from collector.alerts.silences.acknowledgement import Acknowledgement, AcknowledgementRequest
from collector.alerts.silences.maintenance import MaintenanceRequest, MaintenanceWindow
from collector.alerts.store import TooManySilences
from collector.store.line_id import LineId
from collector.web.context import Context
from collector.web.errors import RequestError, unknown_line
from collector.web.parameters import BODY_FORM, LineParameters, NoParameters, Parameters
from collector.web.responses import Answer
from collector.web.views import View
from xomnet.contract.messages import Access
from xomnet.contract.values import Count


class AlertedLineView(View, frozen=True, kw_only=True, omit_defaults=True):
    agent: str
    line: str
    since: dt.datetime
    good_since: dt.datetime | None = None
    """It is well again since then, and must be so for a while before the alert ends."""
    acknowledged: Acknowledgement | None = None


class AlertView(View, frozen=True, kw_only=True, omit_defaults=True):
    id: int
    trouble: Annotated[str, Meta(extra_json_schema={"enum": [one.state for one in CONDITIONS]})]
    kind: Kind
    place: str
    """The unit, the area's path or the provider; of a line `agent/line`."""
    opened_at: dt.datetime
    since: dt.datetime
    lines: list[AlertedLineView]
    access: Access | None = None


class AlertsView(View, frozen=True, kw_only=True):
    alerts: list[AlertView]
    """What is open, the newest first."""
    waiting: int
    """Messages that are still to be sent."""
    failed: list[FailedNotification]
    """Messages that were given up, the newest first."""


class MaintenanceList(View, frozen=True, kw_only=True):
    maintenance: list[MaintenanceWindow]
    """On, to come, and over within the last 30 days."""


class AcknowledgedList(View, frozen=True, kw_only=True):
    acknowledged: list[Acknowledgement]


class AcknowledgeParameters(LineParameters, frozen=True, kw_only=True):
    body: AcknowledgementRequest


class AddMaintenanceParameters(Parameters, frozen=True, kw_only=True):
    body: MaintenanceRequest


class EndMaintenanceParameters(Parameters, frozen=True, kw_only=True):
    id: Annotated[Count, Meta(description="As listed", extra_json_schema={"format": "int64"})]


def list_alerts(context: Context, _: NoParameters) -> Answer:
    store = _alert_service(context).store
    return Answer(alerts_view(store.state().alerts, store.acknowledgements(), store.queue(), store.failures()))


async def acknowledge(context: Context, given: AcknowledgeParameters) -> Answer:
    wanted, line, now = given.body, LineId(given.agent, given.line), context.now()
    if context.services.registry().at(*line, now) is None:
        raise unknown_line(*line)
    service = _alert_service(context)
    done = await run_in_threadpool(service.acknowledge, line, wanted.by, wanted.note, wanted.whole_alert, now)
    if not done:
        raise RequestError(
            409, f"{line.agent} / {line.line} has no alert to acknowledge", "path", "a line with an alert"
        )
    return Answer(AcknowledgedList(acknowledged=done))


def list_maintenance(context: Context, _: NoParameters) -> Answer:
    return Answer(MaintenanceList(maintenance=_alert_service(context).store.windows(context.now())))


async def add_maintenance(context: Context, given: AddMaintenanceParameters) -> Answer:
    wanted, now = given.body, context.now()
    fault = wanted.fault(now)
    if fault is not None:
        raise RequestError(400, fault, "body", BODY_FORM)
    if not any(wanted.covers(row) for row in context.services.registry().current(now)):
        raise RequestError(404, "no line in the registry matches", "body", "names as in /api/v1/lines")
    try:
        window = await run_in_threadpool(_alert_service(context).store.add_window, wanted, now)
    except TooManySilences as error:
        raise RequestError(409, str(error), "maintenance", "fewer, or wider ones") from error
    return Answer(window, 201, {"Location": f"/api/v1/maintenance/{window.id}"})


async def end_maintenance(context: Context, given: EndMaintenanceParameters) -> Answer:
    now, store = context.now(), _alert_service(context).store
    ended = await run_in_threadpool(store.end_window, given.id, now)
    if ended is None:
        raise RequestError(404, "no such maintenance, or it is over", "path", "an id that /api/v1/maintenance lists")
    return Answer(ended)


def alerts_view(
    alerts: Sequence[Alert],
    acknowledgements: Mapping[LineId, Acknowledgement],
    queue: Sequence[QueuedNotification],
    failed: Sequence[FailedNotification],
) -> AlertsView:
    return AlertsView(
        alerts=[_alert_view(alert, acknowledgements) for alert in sorted(alerts, key=lambda one: one.id, reverse=True)],
        waiting=len(queue),
        failed=list(failed),
    )


def _alert_view(alert: Alert, acknowledgements: Mapping[LineId, Acknowledgement]) -> AlertView:
    lines = [AlertedLineView.of(one, acknowledged=acknowledgements.get(one.id)) for one in alert.lines]
    return AlertView.of(alert, lines=lines)


def _alert_service(context: Context) -> AlertService:
    """Raises RequestError if this collector decides on no alerts."""
    if context.services.alerts is None:
        raise RequestError(503, "alerts are not decided here", "alerts", "a running collector", 5)
    return context.services.alerts
