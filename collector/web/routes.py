"""Every route of the collector. The application and the OpenAPI document are made from this table, so that there is no
route beside it and none that is not documented.
"""

from pathlib import Path
from typing import Any

from msgspec import Raw

from collector.alerts.silences.maintenance import MaintenanceWindow
from collector.web import pages, views
from collector.web.csv_export import CsvFile
from collector.web.line_filter import FilterParameters
from collector.web.parameters import AnyParameters, LineParameters, NoParameters
from collector.web.responses import MetricsText
from collector.web.rest import agents, alerts, commands, completeness, history, lines, monitoring
from collector.web.routing import Operation, Page, StaticFolder

# Their types are inferred: an annotation with Any would keep mypy from comparing each handler with its parameters.
_OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/lines",
        handler=lines.list_lines,
        summary="Every registered line, worst first",
        parameters=FilterParameters,
        answers={200: (views.Lines,)},
        errors=(503,),
    ),
    Operation(
        method="GET",
        path="/api/v1/lines/{agent}/{line}",
        handler=lines.get_line,
        summary="One line",
        parameters=LineParameters,
        answers={200: (views.Line,)},
        errors=(404, 503),
    ),
    Operation(
        method="GET",
        path="/api/v1/lines/{agent}/{line}/speed",
        handler=history.list_speed,
        summary="Download tests, oldest first",
        parameters=history.LineHistoryParameters,
        answers={200: (views.SpeedHistory, CsvFile)},
        errors=(404, 503),
    ),
    Operation(
        method="GET",
        path="/api/v1/lines/{agent}/{line}/latency",
        handler=history.list_latency,
        summary="Latency and loss, oldest first",
        parameters=history.LineHistoryParameters,
        answers={200: (views.LatencyHistory, CsvFile)},
        errors=(404, 503),
    ),
    Operation(
        method="GET",
        path="/api/v1/lines/{agent}/{line}/outages",
        handler=history.list_outages,
        summary="Outages by their beginning, oldest first",
        parameters=history.LineHistoryParameters,
        answers={200: (views.OutageHistory, CsvFile)},
        errors=(404, 503),
    ),
    Operation(
        method="GET",
        path="/api/v1/agents",
        handler=agents.list_agents,
        summary="Every unit, registered or heard",
        parameters=NoParameters,
        answers={200: (views.Agents,)},
        errors=(503,),
    ),
    Operation(
        method="GET",
        path="/api/v1/agents/{agent}/events",
        handler=history.list_events,
        summary="Events of a unit and its lines, oldest first",
        parameters=history.HistoryParameters,
        answers={200: (views.EventHistory, CsvFile)},
        errors=(404, 503),
    ),
    Operation(
        method="GET",
        path="/api/v1/completeness",
        handler=completeness.get_completeness,
        summary="Whether what the units promised is stored, most missing first",
        parameters=NoParameters,
        answers={200: (completeness.CompletenessView,)},
        errors=(503,),
    ),
    Operation(
        method="GET",
        path="/api/v1/rejected",
        handler=agents.list_rejected,
        summary="Rejected messages, newest first",
        parameters=NoParameters,
        answers={200: (views.RejectedView,)},
    ),
    Operation(
        method="POST",
        path="/api/v1/agents/{agent}/commands",
        handler=commands.send_command,
        summary="Send a command to a unit: measure, report, identify, settings",
        parameters=commands.SendCommandParameters,
        answers={200: (commands.CommandView,), 202: (commands.CommandView,)},
        errors=(404, 503),
        operator=True,
    ),
    Operation(
        method="GET",
        path="/api/v1/commands/{id}",
        handler=commands.get_command,
        summary="The outcome of a command",
        parameters=commands.CommandParameters,
        answers={200: (commands.CommandView,)},
        errors=(404,),
    ),
    Operation(
        method="GET",
        path="/api/v1/alerts",
        handler=alerts.list_alerts,
        summary="Open alerts, and the messages that wait or were given up",
        parameters=NoParameters,
        answers={200: (alerts.AlertsView,)},
        errors=(503,),
    ),
    Operation(
        method="POST",
        path="/api/v1/lines/{agent}/{line}/acknowledge",
        handler=alerts.acknowledge,
        summary="Acknowledge a line's open alert",
        parameters=alerts.AcknowledgeParameters,
        answers={200: (alerts.AcknowledgedList,)},
        errors=(404, 409, 503),
        operator=True,
    ),
    Operation(
        method="GET",
        path="/api/v1/maintenance",
        handler=alerts.list_maintenance,
        summary="Maintenance windows: no alerts for lines that are being worked on",
        parameters=NoParameters,
        answers={200: (alerts.MaintenanceList,)},
        errors=(503,),
    ),
    Operation(
        method="POST",
        path="/api/v1/maintenance",
        handler=alerts.add_maintenance,
        summary="Add a maintenance window for a unit, a line, an area or a provider",
        parameters=alerts.AddMaintenanceParameters,
        answers={201: (MaintenanceWindow,)},
        errors=(404, 409, 503),
        operator=True,
    ),
    Operation(
        method="DELETE",
        path="/api/v1/maintenance/{id}",
        handler=alerts.end_maintenance,
        summary="End a maintenance window now",
        parameters=alerts.EndMaintenanceParameters,
        answers={200: (MaintenanceWindow,)},
        errors=(404, 503),
        operator=True,
    ),
    Operation(
        method="GET",
        path="/healthz",
        handler=monitoring.check_health,
        summary="Whether the collector works, and which part does not",
        parameters=AnyParameters,
        answers={200: (views.HealthCheck,), 503: (views.HealthCheck,)},
    ),
    Operation(
        method="GET",
        path="/metrics",
        handler=monitoring.read_metrics,
        summary="Metrics for Prometheus, text format 0.0.4",
        parameters=AnyParameters,
        answers={200: (MetricsText,)},
    ),
    Operation(
        method="GET",
        path="/openapi.json",
        handler=monitoring.get_openapi,
        summary="The description of this interface",
        parameters=AnyParameters,
        answers={200: (Raw,)},
        documented=False,  # it does not describe itself
    ),
)

_PAGES = (
    Page(path="/", handler=pages.show_overview, parameters=pages.OverviewParameters),
    Page(path="/lines/{agent}/{line}", handler=pages.show_line, parameters=pages.LinePageParameters),
    Page(path="/states.css", handler=pages.state_colours, parameters=AnyParameters),
)

OPERATIONS: tuple[Operation[Any], ...] = _OPERATIONS
PAGES: tuple[Page[Any], ...] = _PAGES
STATIC = StaticFolder(path="/static", folder=Path(__file__).parent / "static")

ROUTES: tuple[Operation[Any] | Page[Any] | StaticFolder, ...] = (*OPERATIONS, *PAGES, STATIC)
