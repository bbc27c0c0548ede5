"""Where alerts are decided, written down and handed to the courier: follows the snapshots, in a thread of its own."""

import datetime as dt
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence

from collector.alerts.alert import Alert, AlertChange, AlertRules
from collector.alerts.channels import Channel, NotificationSettings
from collector.alerts.digest import Day, digest, due
from collector.alerts.evidence import NOTHING, Evidence, gather
from collector.alerts.outbox import Notification
from collector.alerts.rules import evaluate
from collector.alerts.silences import Acknowledgement, MaintenanceWindow, in_maintenance
from collector.alerts.store import AlertStore
from collector.alerts.texts import message_of
from collector.completeness.completeness import Found
from collector.judge.line_states import LineStatus, Snapshot
from collector.metrics import Metrics
from collector.store import LineId, Store, StoreUnavailable
from collector.store.points import Value
from collector.texts.texts import LOCAL
from xomnet.runtime.log import Log

log = Log("collector.alerts")

MAX_LOOKED_AT = 20
"""Of so many lines that fell short in one minute, the results are looked at; the others get a sensible order."""


class AlertService(threading.Thread):
    """`on_snapshot` and `line_fields` are for the line states; the rest is read by page, REST and metrics."""

    def __init__(
        self,
        book: AlertStore,
        store: Store,
        rules: AlertRules,
        telling: NotificationSettings,
        window: dt.timedelta,
        found: Callable[[], Found | None],
        metrics: Metrics,
    ) -> None:
        super().__init__(name="alerts", daemon=True)
        self.kept, self._store, self.rules, self.telling = book, store, rules, telling
        self._window_s, self._found, self._metrics = window.total_seconds(), found, metrics
        self._new, self._ending = threading.Event(), threading.Event()
        self._snapshot: Snapshot | None = None
        self.posted: Callable[[], None] = lambda: None
        """Called when there is something to send."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._new.set()

    def line_fields(self, snapshot: Snapshot) -> Mapping[LineId, Mapping[str, Value]]:
        """The fields `maintenance` and `acknowledged` of `line_state`, of every line."""
        try:
            windows, taken = self.kept.windows(snapshot.at), self.kept.acknowledged()
        except sqlite3.Error as error:  # the states must be written all the same
            log.error("alert book not read", reason=str(error))
            return {}
        maintained = in_maintenance(windows, snapshot.at)
        return {
            s.id: {
                "maintenance": int(maintained(s.row)),
                "acknowledged": int(s.id in taken),
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
                self.tell_the_day(snapshot)
            except sqlite3.Error as error:  # the book is as before: the next snapshot decides anew
                log.error("alerts not decided", reason=str(error))
            except Exception:  # a fault in one minute must not end the alerts of all others
                log.exception("alerts not decided")

    def evaluate(self, snapshot: Snapshot) -> list[AlertChange]:
        """Decides on a snapshot; the book and what there is to send are on disk when it returns."""
        now, seen = snapshot.at, {s.id: s for s in snapshot.lines}
        worked_on = in_maintenance(self.kept.windows(now), now)
        maintained = {s.id for s in snapshot.lines if worked_on(s.row)}
        before = self.kept.book()
        news, book = evaluate(snapshot.lines, before, maintained, self.rules, now)
        if book != before:
            found = self._evidence([one for one in news if self._wanted(one, seen)], seen)
            letters = [pair for one in news for pair in self._letters(one, seen, found.get(one.alert.id, NOTHING))]
            self._count_room(self.kept.keep(book, letters, now))
        for one in news:
            log.info(
                f"alert {one.what}",
                id=one.alert.id,
                trouble=one.alert.trouble,
                kind=one.alert.kind,
                place=one.alert.place,
                lines=len(one.alert.lines),
            )
        self._let_go(snapshot, book.alerts)
        if news:
            self.posted()
        return news

    def _wanted(self, news: AlertChange, seen: Mapping[LineId, LineStatus]) -> list[Channel]:
        """Who is to hear of it."""
        rows = [seen[one.id].row for one in news.alert.lines if one.id in seen]
        return [c for c in self.telling.channels if not rows or any(c.wants(row) for row in rows)]

    def _letters(
        self, news: AlertChange, seen: Mapping[LineId, LineStatus], found: Evidence
    ) -> list[tuple[str, Notification]]:
        return [
            (
                channel.id,
                message_of(news, seen, self._window_s, self.telling.texts_for(channel), self.telling.public_url,
                           found, channel.wants),
            )
            for channel in self._wanted(news, seen)
        ]  # fmt: skip

    def _evidence(self, news: Sequence[AlertChange], seen: Mapping[LineId, LineStatus]) -> dict[int, Evidence]:
        """By alert: what the store says of lines that fell short, of the first MAX_LOOKED_AT."""
        short = [one for one in news if (one.what, one.alert.kind, one.alert.trouble) == ("opened", "line", "short")]
        found: dict[int, Evidence] = {}
        try:
            for one in short[:MAX_LOOKED_AT]:
                line, since = one.alert.lines[0].id, one.alert.since
                found[one.alert.id] = gather(self._store, line, seen[line].judgement.target_mbps, since, one.at)
        except StoreUnavailable as error:
            log.warning("alerts without their evidence", reason=str(error))
        return found

    def _let_go(self, snapshot: Snapshot, alerts: Sequence[Alert]) -> None:
        """An acknowledgement ends with the trouble that it was of; one given since the snapshot is of a later one."""
        taken = {line: one for line, one in self.kept.acknowledged().items() if one.at <= snapshot.at}
        if not taken:
            return
        troubled = {one.id for alert in alerts for one in alert.lines}
        troubled |= {s.id for s in snapshot.lines if s.judgement.state in ("short", "silent", "no_data")}
        if gone := taken.keys() - troubled:
            self.kept.forget(gone)

    def tell_the_day(self, snapshot: Snapshot) -> bool:
        """The digest, once a day from its hour on. True where it was told now."""
        now, last = snapshot.at, self.kept.digest_on()
        today = now.astimezone(LOCAL).date()
        if not self.telling.channels or not due(now, self.telling.digest_at, last):
            return False
        if last is None:  # the first day: it has seen nothing of it
            self.kept.post([], now, today)
            return False
        day = Day(snapshot, self.kept.book(), self.kept.acknowledged(), self.kept.windows(now), self._found(),
                  self.kept.failed())  # fmt: skip
        letters = [
            (c.id, digest(day, self.telling.texts_for(c), c.wants, self.telling.public_url))
            for c in self.telling.channels
            if c.digest
        ]
        self._count_room(self.kept.post(letters, now, today))
        self.posted()
        return True

    def _count_room(self, given_up: int) -> None:
        if given_up:
            self._metrics.notify_failed.inc(given_up)
            log.error("messages given up, too many wait", messages=given_up)

    def acknowledge(
        self, line: LineId, by: str, note: str, whole_alert: bool, now: dt.datetime
    ) -> list[Acknowledgement]:
        """Somebody takes a line's trouble on; with `whole_alert`, that of every line of its alerts. Returns what is
        kept; nothing where the line has no trouble.
        """
        snapshot = self._snapshot
        status = None if snapshot is None else snapshot.line(*line)
        of = [alert for alert in self.kept.book().alerts if any(one.id == line for one in alert.lines)]
        troubled = status is not None and status.judgement.state in ("short", "silent", "no_data")
        if not of and not troubled:
            return []
        lines = {line} | ({one.id for alert in of for one in alert.lines} if whole_alert else set())
        given = [Acknowledgement(agent=agent, line=name, by=by, at=now, note=note) for agent, name in sorted(lines)]
        self.kept.acknowledge(given)
        return given

    def maintenance_of(self, status: LineStatus, now: dt.datetime) -> list[MaintenanceWindow]:
        """The windows that are on for a line."""
        return [w for w in self.kept.windows(now) if w.active(now) and w.covers(status.row)]

    def stop(self, timeout_s: float = 5.0) -> None:
        self._ending.set()
        self._new.set()
        self.join(timeout_s)
