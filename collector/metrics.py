"""The collector's own figures, in Prometheus text at `/metrics`."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary, disable_created_metrics, generate_latest

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counters and gauges of one collector; a registry of its own, so that tests can have several."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.received = Counter(
            "xomnet_results_received", "Results that arrived from the broker", registry=self.registry
        )
        self.stored = Counter("xomnet_results_stored", "Results that the database has", registry=self.registry)
        self.archived = Counter("xomnet_results_archived", "Results that the archive has", registry=self.registry)
        self.archive_bytes = Gauge("xomnet_archive_bytes", "What the archive takes", registry=self.registry)
        self.archive_seal_failures = Counter(
            "xomnet_archive_seal_failures", "Times that a day of the archive stayed a log", registry=self.registry
        )
        self.archive_days_deleted = Counter(
            "xomnet_archive_days_deleted", "Days of the archive that its bounds deleted", registry=self.registry
        )
        self.rejected = Counter("xomnet_results_rejected", "Results refused", ["code"], registry=self.registry)
        self.unanswered = Counter(
            "xomnet_messages_unanswered",
            "Messages let go of: too fast, or beyond a unit's quota of the day",
            ["why"],
            registry=self.registry,
        )
        self.quota_exceeded = Gauge(
            "xomnet_quota_exceeded_units", "Units that went beyond their quota today", registry=self.registry
        )
        self.write_errors = Counter("xomnet_write_errors", "Writes that failed and are retried", registry=self.registry)
        self.queue = Gauge("xomnet_queue", "Results received and not yet acknowledged", registry=self.registry)
        self.last_result_age = Gauge(
            "xomnet_last_result_age_seconds", "Since a result was last stored", registry=self.registry
        )
        self.connected = Gauge("xomnet_broker_connected", "1 while connected to the broker", registry=self.registry)
        self.answers = Gauge(
            "xomnet_broker_answers", "1 while our own message comes back from the broker", registry=self.registry
        )
        self.early_stop = Summary(
            "xomnet_audit_early_ratio",
            "What an early stop would have said over the audit",
            registry=self.registry,
        )
        self.completeness = Gauge(
            "xomnet_completeness_ratio",
            "Results stored over results that the units' spools took in, 30 days",
            registry=self.registry,
        )
        self.gap_results = Gauge(
            "xomnet_gap_results", "Results that a spool took in and nothing accounts for", registry=self.registry
        )
        self.registry_problems = Gauge(
            "xomnet_registry_problems",
            "What keeps the registry's file from being in force",
            registry=self.registry,
        )
        self.lines = Gauge("xomnet_lines", "Registered lines by state", ["state"], registry=self.registry)
        self.backup_age = Gauge(
            "xomnet_backup_age_seconds", "Since the last backup; NaN if none is known", registry=self.registry
        )
        self.backup_age.set(float("nan"))

        self.notify_sent = Counter("xomnet_notify_sent", "Messages that a channel took", registry=self.registry)
        self.notify_failed = Counter("xomnet_notify_failed", "Messages given up", registry=self.registry)
        self.notify_waiting = Gauge("xomnet_notify_waiting", "Messages that wait to be sent", registry=self.registry)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)
