"""Evaluates the alerts of each snapshot, saves them, and queues their messages: in a thread of its own."""

import datetime as dt
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from collector.alerts.alert import Alert, AlertChange, AlertRules
from collector.alerts.backup_age import BackupWatch
from collector.alerts.channels import Channel, NotificationSettings
from collector.alerts.conditions import BY_STATE, is_alert_due
from collector.alerts.digest import DigestDay, digest, is_due
from collector.alerts.evidence import NOTHING, Evidence, gather
from collector.alerts.outbox import Notification
from collector.alerts.rules import evaluate
from collector.alerts.silences.acknowledgement import Acknowledgement
from collector.alerts.silences.maintenance import MaintenanceWindow, in_maintenance
from collector.alerts.store import AlertStore
from collector.alerts.texts import Notice, backup_notice, duplicate_notice, message_of, quota_notice
from collector.completeness.completeness import CompletenessSnapshot
from collector.judge.line_states import LineStatus, Snapshot
from collector.metrics import Metrics
from collector.store import Store
from collector.store.errors import StoreUnavailable
from collector.store.line_id import LineId
from collector.store.points import Value
from collector.texts.texts import LOCAL
from xomnet.runtime.log import Log

log = Log("collector.alerts")

MAX_LOOKED_AT = 20
"""How many lines that open an alert in one minute have their results looked at; the others get the usual checks."""


class AlertService(threading.Thread):
    """`on_snapshot` and `line_fields` are for the line states; page, REST and metrics read the rest.

    `on_queued` is called when there are messages to send.
    """

    def __init__(
        self,
        store: AlertStore,
        results: Store,
        rules: AlertRules,
        settings: NotificationSettings,
        window: dt.timedelta,
        completeness: Callable[[], CompletenessSnapshot | None],
        metrics: Metrics,
        on_queued: Callable[[], None] = lambda: None,
        backup: BackupWatch | None = None,
    ) -> None:
        super().__init__(name="alerts", daemon=True)
        self.store, self.rules, self.settings = store, rules, settings
        self._results, self._completeness, self._metrics = results, completeness, metrics
        self._window_s, self._on_queued = window.total_seconds(), on_queued
        self._backup = backup
        self._new, self._ending = threading.Event(), threading.Event()
        self._snapshot: Snapshot | None = None
        self._notices: deque[tuple[Notice, str]] = deque()

    def on_duplicate(self, agent: str) -> None:
        """Two machines use a unit's name: a message goes with the next snapshot. From any thread."""
        self._notices.append((duplicate_notice, agent))

    def on_quota_exceeded(self, agent: str, _reason: str) -> None:
        """A unit went beyond its quota of the day: a message goes with the next snapshot. From any thread."""
        self._notices.append((quota_notice, agent))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._new.set()

    def line_fields(self, snapshot: Snapshot) -> Mapping[LineId, Mapping[str, Value]]:
        """The fields of `line_state` by which Grafana alerts of what we alert of: of every line, each 0 or 1."""
        try:
            windows, acknowledged = self.store.windows(snapshot.at), self.store.acknowledgements()
        except sqlite3.Error as error:  # the states must be written all the same
            log.error("alert book not read", reason=str(error))
            return {}
        is_maintained = in_maintenance(windows, snapshot.at)
        return {
            s.id: {
                "maintenance": int(is_maintained(s.row)),
                "acknowledged": int(s.id in acknowledged),
                "alert_due": int(is_alert_due(s, self.rules, snapshot.at)),
            }
            for s in snapshot.lines
        }

    def run(self) -> None:
        while not self._ending.is_set():
            self._new.wait()
            self._new.clear()
            snapshot = self._snapshot
            if snapshot is None or self._ending.is_set():
                continue
            try:
                self.evaluate(snapshot)
                self.send_notices(snapshot)
                self.send_digest(snapshot)
            except sqlite3.Error as error:  # the stored state is as before: the next snapshot decides again
                log.error("alerts not decided", reason=str(error))
            except Exception:  # a fault in one minute must not end the alerts of all others
                log.exception("alerts not decided")

    def evaluate(self, snapshot: Snapshot) -> list[AlertChange]:
        """Decides on a snapshot; the new state and its messages are on disk when it returns."""
        now, statuses = snapshot.at, {s.id: s for s in snapshot.lines}
        is_maintained = in_maintenance(self.store.windows(now), now)
        maintained = {s.id for s in snapshot.lines if is_maintained(s.row)}
        before = self.store.state()
        changes, state = evaluate(snapshot.lines, before, maintained, self.rules, now)
        if state != before:
            found = self._evidence([one for one in changes if self._channels_for(one, statuses)], statuses)
            queued = [
                pair for one in changes for pair in self._messages(one, statuses, found.get(one.alert.id, NOTHING))
            ]
            self._count_dropped(self.store.save(state, queued, now))
        for one in changes:
            log.info(
                f"alert {one.event}",
                id=one.alert.id,
                trouble=one.alert.trouble,
                kind=one.alert.kind,
                place=one.alert.place,
                lines=len(one.alert.lines),
            )
        self._end_acknowledgements(snapshot, state.alerts)
        if changes:
            self._on_queued()
        return changes

    def _channels_for(self, change: AlertChange, statuses: Mapping[LineId, LineStatus]) -> list[Channel]:
        """Those that want it."""
        rows = [statuses[one.id].row for one in change.alert.lines if one.id in statuses]
        return [c for c in self.settings.channels if not rows or any(c.wants(row) for row in rows)]

    def _messages(
        self, change: AlertChange, statuses: Mapping[LineId, LineStatus], found: Evidence
    ) -> list[tuple[str, Notification]]:
        """(channel, message) for each channel that wants it."""
        return [
            (
                channel.id,
                message_of(change, statuses, self._window_s, self.settings.texts_for(channel),
                           self.settings.public_url, found, channel.wants),
            )
            for channel in self._channels_for(change, statuses)
        ]  # fmt: skip

    def _evidence(self, changes: Sequence[AlertChange], statuses: Mapping[LineId, LineStatus]) -> dict[int, Evidence]:
        """By alert: what the store says of lines that tests show to have a condition, of the first MAX_LOOKED_AT."""
        opened = [one for one in changes if (one.event, one.alert.kind) == ("opened", "line")]
        tested = [one for one in opened if BY_STATE[one.alert.trouble].from_tests]
        found: dict[int, Evidence] = {}
        try:
            for one in tested[:MAX_LOOKED_AT]:
                line, since = one.alert.lines[0].id, one.alert.since
                target_mbps = statuses[line].judgement.target_mbps
                found[one.alert.id] = gather(self._results, line, target_mbps, since, one.at)
        except StoreUnavailable as error:
            log.warning("alerts without their evidence", reason=str(error))
        return found

    def _end_acknowledgements(self, snapshot: Snapshot, alerts: Sequence[Alert]) -> None:
        """An acknowledgement ends when the line recovers; one given since the snapshot is of a later alert."""
        given = {line: one for line, one in self.store.acknowledgements().items() if one.at <= snapshot.at}
        if not given:
            return
        troubled = {one.id for alert in alerts for one in alert.lines}
        troubled |= {s.id for s in snapshot.lines if s.judgement.state in BY_STATE}
        if ended := given.keys() - troubled:
            self.store.delete_acknowledgements(ended)

    def send_notices(self, snapshot: Snapshot) -> None:
        """What is to be said of single units, to the channels that want one of their lines; of the server, to all."""
        self._watch_backup(snapshot.at)
        while self._notices:
            notice, agent = self._notices[0]
            rows = [s.row for s in snapshot.lines if s.row.agent == agent]
            queued = [
                (channel.id, notice(agent, rows, self.settings.texts_for(channel), self.settings.public_url))
                for channel in self.settings.channels
                if not rows or any(channel.wants(row) for row in rows)
            ]
            self._count_dropped(self.store.enqueue(queued, snapshot.at))
            self._notices.popleft()
            self._on_queued()

    def _watch_backup(self, now: dt.datetime) -> None:
        if self._backup is None:
            return
        self._metrics.backup_age.set(self._backup.age_s(now))
        if self._backup.is_newly_overdue(now):
            self._notices.append((backup_notice, ""))

    def send_digest(self, snapshot: Snapshot) -> bool:
        """The digest, once a day from its hour on. True if it was queued now."""
        now, last = snapshot.at, self.store.last_digest()
        today = now.astimezone(LOCAL).date()
        if not self.settings.channels or not is_due(now, self.settings.digest_at, last):
            return False
        if last is None:  # the first day: it has seen nothing of it
            self.store.enqueue_digest([], now, today)
            return False
        day = DigestDay(
            snapshot,
            self.store.acknowledgements(),
            self.store.windows(now),
            self._completeness(),
            self.store.failures(),
        )
        queued = [
            (c.id, digest(day, self.settings.texts_for(c), c.wants, self.settings.public_url))
            for c in self.settings.channels
            if c.digest
        ]
        self._count_dropped(self.store.enqueue_digest(queued, now, today))
        self._on_queued()
        return True

    def _count_dropped(self, given_up: int) -> None:
        if given_up:
            self._metrics.notify_failed.inc(given_up)
            log.error("messages given up, too many wait", messages=given_up)

    def acknowledge(
        self, line: LineId, by: str, note: str, whole_alert: bool, now: dt.datetime
    ) -> list[Acknowledgement]:
        """Acknowledges a line's alert; with `whole_alert`, for every line of it. Returns the acknowledgements that are
        stored; none if the line has no alert and no condition.
        """
        snapshot = self._snapshot
        status = None if snapshot is None else snapshot.line(*line)
        of = [alert for alert in self.store.state().alerts if any(one.id == line for one in alert.lines)]
        troubled = status is not None and status.judgement.state in BY_STATE
        if not of and not troubled:
            return []
        lines = {line} | ({one.id for alert in of for one in alert.lines} if whole_alert else set())
        given = [Acknowledgement(agent=agent, line=name, by=by, at=now, note=note) for agent, name in sorted(lines)]
        self.store.acknowledge(given)
        return given

    def maintenance_of(self, status: LineStatus, now: dt.datetime) -> list[MaintenanceWindow]:
        """The windows that are on for a line."""
        return [w for w in self.store.windows(now) if w.active(now) and w.covers(status.row)]

    def stop(self, timeout_s: float = 5.0) -> None:
        self._ending.set()
        self._new.set()
        self.join(timeout_s)
