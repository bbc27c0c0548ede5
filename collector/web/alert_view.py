"""What REST says of alerts, maintenance and acknowledgements, as types."""

import datetime as dt
from collections.abc import Mapping, Sequence

from collector.alerts.alert import Alert, Kind, Trouble
from collector.alerts.outbox import FailedNotification, QueuedNotification
from collector.alerts.silences import Acknowledgement, MaintenanceWindow
from collector.store.line_id import LineId
from collector.web.views import View
from xomnet.contract.messages import Access


class AlertedLineView(View, frozen=True, kw_only=True, omit_defaults=True):
    agent: str
    line: str
    since: dt.datetime
    good_since: dt.datetime | None = None
    """It is well again since then, and must be so for a while before the alert ends."""
    acknowledged: Acknowledgement | None = None


class AlertView(View, frozen=True, kw_only=True, omit_defaults=True):
    id: int
    trouble: Trouble
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


def alerts_view(
    alerts: Sequence[Alert],
    taken: Mapping[LineId, Acknowledgement],
    letters: Sequence[QueuedNotification],
    failed: Sequence[FailedNotification],
) -> AlertsView:
    return AlertsView(
        alerts=[_alert(alert, taken) for alert in sorted(alerts, key=lambda one: one.id, reverse=True)],
        waiting=len(letters),
        failed=list(failed),
    )


def _alert(alert: Alert, taken: Mapping[LineId, Acknowledgement]) -> AlertView:
    lines = [AlertedLineView.of(one, acknowledged=taken.get(one.id)) for one in alert.lines]
    return AlertView.of(alert, lines=lines)
