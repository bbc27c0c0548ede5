"""Brings what waits in the outbox to its channels: tries again for a day, then gives up and says so."""

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
"""So many messages a channel gets one by one; more of them at once are one message."""
MAX_JOINED = 20
LATE = dt.timedelta(hours=1)
"""A message that waits so long is a trouble of its own."""

Deliver = Callable[[Sequence[Delivery]], Iterator[DeliveryOutcome]]


class Dispatcher(threading.Thread):
    """Sends what is due, in a process of its own that ends with it; between two looks it waits `every_s`."""

    def __init__(
        self,
        book: AlertStore,
        telling: NotificationSettings,
        metrics: Metrics,
        deliver: Deliver = deliver,
        every_s: float = 15.0,
    ) -> None:
        super().__init__(name="courier", daemon=True)
        self._book, self._telling, self._metrics, self._deliver = book, telling, metrics, deliver
        self._channels = {channel.id: channel for channel in telling.channels}
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
                    self._book.hasten(utc_now())
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
        letters = self._book.letters()
        self._metrics.notify_waiting.set(len(letters))
        for letter in letters:
            if letter.channel not in self._channels:
                self._give_up(letter, now, "its address is no longer in notify.urls_file")
        due = {one.channel for one in letters if one.due <= now} & self._channels.keys()
        bundles = self._bundles([one for one in letters if one.channel in due])
        parcels = [self._parcel(one) for one in bundles]
        if not parcels:
            return
        for outcome in self._deliver(parcels):
            sent = bundles[outcome.number]
            if outcome.reason is None:
                self._book.sent(sent)
                self._metrics.notify_sent.inc(len(sent))
                log.info("messages sent", channel=self._label(sent[0]), messages=len(sent))
            else:
                self._failed(sent, now, outcome.reason)
        self._metrics.notify_waiting.set(len(self._book.letters()))

    def _bundles(self, letters: Sequence[QueuedNotification]) -> list[list[QueuedNotification]]:
        """Letters one by one, or together where a channel would get many at once."""
        bundles: list[list[QueuedNotification]] = []
        ordered = sorted(letters, key=lambda one: (one.channel, one.id))
        for _, group in groupby(ordered, key=lambda one: one.channel):
            of = list(group)
            size = 1 if len(of) <= MAX_ALONE else MAX_JOINED
            bundles += [of[start : start + size] for start in range(0, len(of), size)]
        return bundles

    def _parcel(self, letters: Sequence[QueuedNotification]) -> Delivery:
        channel = self._channels[letters[0].channel]
        t = self._telling.texts_for(channel)
        title = t.plural("xomnet: {n} message", "xomnet: {n} messages", len(letters))
        return Delivery(channel.url, bundle(list(letters), title))

    def _failed(self, letters: Sequence[QueuedNotification], now: dt.datetime, reason: str) -> None:
        for letter in letters:
            due = next_try(letter, now)
            if due is None:
                self._give_up(letter, now, reason)
            else:
                self._book.later(letter, due, reason)
        log.warning("message not sent", channel=self._label(letters[0]), reason=reason, messages=len(letters))

    def _give_up(self, letter: QueuedNotification, now: dt.datetime, reason: str) -> None:
        self._book.give_up(letter, now, reason)
        self._metrics.notify_failed.inc()
        log.error("message given up", channel=self._label(letter), title=letter.message.title, reason=reason)

    def _label(self, letter: QueuedNotification) -> str:
        channel: Channel | None = self._channels.get(letter.channel)
        return letter.channel if channel is None else channel.label

    def trouble(self, now: dt.datetime) -> str | None:
        """What is wrong with sending, in a sentence: something waits for an hour, or was given up within a day."""
        late = [one for one in self._book.letters() if now - one.at >= LATE]
        if late:
            return f"{len(late)} messages wait for an hour or more: {late[0].reason}"
        lately = [one for one in self._book.failed() if now - one.at < dt.timedelta(days=1)]
        return f"{len(lately)} messages were given up within a day: {lately[0].reason}" if lately else None

    def stop(self, timeout_s: float = 5.0) -> None:
        """What is being sent is sent, or tried again by the next process."""
        self._ending.set()
        self._wake.set()
        self.join(timeout_s)
