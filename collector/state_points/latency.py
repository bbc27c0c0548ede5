"""The fields of `line_state` that say how a line's latency was in the last hour. Pure."""

from dataclasses import dataclass

from collector.store.points import Value
from collector.store.row_types import LatencyFigures

FEWEST_PROBES = 3
"""Of an hour's twelve: one probe that lost three of ten echoes says nothing of an hour."""


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """Above them a line's latency or loss of the last hour is bad."""

    latency_ms: float = 100.0
    loss_percent: float = 2.0


DEFAULT_LIMITS = LatencyLimits()


def latency_fields(latency: LatencyFigures, limits: LatencyLimits) -> dict[str, Value]:
    """The fields of `line_state` about the last hour: ms and percent; a field without data is absent."""
    fields: dict[str, Value] = {}
    enough = latency.probes >= FEWEST_PROBES
    if latency.rtt_p50_ms is not None:
        fields["rtt_ms"] = float(latency.rtt_p50_ms)
        if enough:
            fields["latency_bad"] = int(latency.rtt_p50_ms > limits.latency_ms)
    if latency.loss_percent is not None:
        fields["loss_percent"] = latency.loss_percent
        if enough:
            fields["loss_bad"] = int(latency.loss_percent > limits.loss_percent)
    return fields
