"""Sends the messages that wait to their channels: tries again for a day, then gives up and reports it."""

import datetime as dt
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from collector.alerts.channels import Channel, NotificationSettings
from collector.alerts.delivery import Delivery, DeliveryOutcome, deliver
from collector.alerts.outbox import QueuedNotification, bundle, next_try
from collector.alerts.store import AlertStore
from collector.metrics import Metrics
from xomnet.runtime.clock import utc_now
from xomnet.runtime.log import Log

log = Log("collector.alerts")

MAX_ALONE = 3
"""If more messages than this wait for a channel, they are joined."""
MAX_JOINED = 20
LATE = dt.timedelta(hours=1)
"""A message that waits for longer is reported."""

Deliver = Callable[[Sequence[Delivery]], Iterator[DeliveryOutcome]]


class Dispatcher(threading.Thread):
    """Sends what is due, in a process of its own that ends with it; it looks every `every_s`."""

    def __init__(
        self,
        store: AlertStore,
        settings: NotificationSettings,
        metrics: Metrics,
        deliver: Deliver = deliver,
        every_s: float = 15.0,
    ) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._store, self._settings, self._metrics, self._deliver = store, settings, metrics, deliver
        self._channels = {channel.id: channel for channel in settings.channels}
        self._every_s = every_s
        self._wake, self._ending = threading.Event(), threading.Event()

    def wake(self) -> None:
        """There is something to send."""
        self._wake.set()

    def run(self) -> None:
        first = True
        while not self._ending.is_set():
            try:
                if first:
                    self._store.expedite(utc_now())
                    first = False
                self.send_due(utc_now())
            except sqlite3.Error as error:
                log.error("outbox not read or written", reason=str(error))
            except Exception:  # a fault in one message must not end the others
                log.exception("messages not sent")
            self._wake.wait(self._every_s)
            self._wake.clear()

    def send_due(self, now: dt.datetime) -> None:
        """Tries what is due, once, with all else that waits for the same channel: an end after its beginning."""
        queue = self._store.queue()
        self._metrics.notify_waiting.set(len(queue))
        for queued in queue:
            if queued.channel not in self._channels:
                self._give_up(queued, now, "its address is no longer in notify.urls_file")
        due = {one.channel for one in queue if one.due <= now} & self._channels.keys()
        bundles = self._bundles([one for one in queue if one.channel in due])
        deliveries = [self._delivery(one) for one in bundles]
        if not deliveries:
            return
        for outcome in self._deliver(deliveries):
            tried = bundles[outcome.number]
            if outcome.reason is None:
                self._store.mark_sent(tried)
                self._metrics.notify_sent.inc(len(tried))
                log.info("messages sent", channel=self._label(tried[0]), messages=len(tried))
            else:
                self._retry_or_give_up(tried, now, outcome.reason)
        self._metrics.notify_waiting.set(len(self._store.queue()))

    def _bundles(self, queue: Sequence[QueuedNotification]) -> list[list[QueuedNotification]]:
        """Messages one by one, or joined if a channel would get many at once."""
        bundles: list[list[QueuedNotification]] = []
        ordered = sorted(queue, key=lambda one: (one.channel, one.id))
        for _, group in groupby(ordered, key=lambda one: one.channel):
            of = list(group)
            size = 1 if len(of) <= MAX_ALONE else MAX_JOINED
            bundles += [of[start : start + size] for start in range(0, len(of), size)]
        return bundles

    def _delivery(self, queued: Sequence[QueuedNotification]) -> Delivery:
        channel = self._channels[queued[0].channel]
        t = self._settings.texts_for(channel)
        title = t.plural("xomnet: {n} message", "xomnet: {n} messages", len(queued))
        return Delivery(channel.url, bundle(queued, title))

    def _retry_or_give_up(self, tried: Sequence[QueuedNotification], now: dt.datetime, reason: str) -> None:
        for queued in tried:
            due = next_try(queued, now)
            if due is None:
                self._give_up(queued, now, reason)
            else:
                self._store.postpone(queued, due, reason)
        log.warning("message not sent", channel=self._label(tried[0]), reason=reason, messages=len(tried))

    def _give_up(self, queued: QueuedNotification, now: dt.datetime, reason: str) -> None:
        self._store.give_up(queued, now, reason)
        self._metrics.notify_failed.inc()
        log.error("message given up", channel=self._label(queued), title=queued.message.title, reason=reason)

    def _label(self, queued: QueuedNotification) -> str:
        channel: Channel | None = self._channels.get(queued.channel)
        return queued.channel if channel is None else channel.label

    def trouble(self, now: dt.datetime) -> str | None:
        """What is wrong with sending, in a sentence: a message waits for an hour, or was given up within a day."""
        late = [one for one in self._store.queue() if now - one.at >= LATE]
        if late:
            return f"{len(late)} messages wait for an hour or more: {late[0].reason}"
        recent = [one for one in self._store.failures() if now - one.at < dt.timedelta(days=1)]
        return f"{len(recent)} messages were given up within a day: {recent[0].reason}" if recent else None

    def stop(self, timeout_s: float = 5.0) -> None:
        """What is being sent is sent, or tried again after the next start."""
        self._ending.set()
        self._wake.set()
        self.join(timeout_s)
