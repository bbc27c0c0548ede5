"""Messages that wait, and messages that were given up: values, and when the next try is. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

GIVEN_UP_AFTER = dt.timedelta(hours=24)
FIRST_RETRY = dt.timedelta(minutes=1)
LONGEST_RETRY = dt.timedelta(hours=1)
MAX_QUEUED = 2_000
"""Messages that may wait; then the oldest are given up."""

Tone = Literal["failure", "success", "info"]


class Notification(Struct, frozen=True):
    """A text for a person, in both forms."""

    title: str
    text: str
    html: str
    tone: Tone


class QueuedNotification(Struct, frozen=True):
    """A message to one channel."""

    id: int
    channel: str
    at: dt.datetime
    due: dt.datetime
    tries: int
    message: Notification
    reason: str = ""
    """Why the last try failed."""


class FailedNotification(Struct, frozen=True, omit_defaults=True):
    """A message that was given up."""

    at: dt.datetime
    channel: str
    title: str
    reason: str


def next_try(queued: QueuedNotification, now: dt.datetime) -> dt.datetime | None:
    """When a message whose try has failed is tried again; None if it is given up."""
    if now - queued.at >= GIVEN_UP_AFTER:
        return None
    back_off: dt.timedelta = FIRST_RETRY * 2 ** min(queued.tries, 10)
    return now + min(LONGEST_RETRY, back_off)


def bundle(queued: Sequence[QueuedNotification], count: str) -> Notification:
    """One message of several, each under its title; `count` is the title of them all."""
    if len(queued) == 1:
        return queued[0].message
    messages = [one.message for one in queued]
    tones = {message.tone for message in messages}
    return Notification(
        count,
        "\n\n".join(f"{message.title}\n{message.text}" for message in messages),
        "<hr>".join(message.html for message in messages),
        "failure" if "failure" in tones else tones.pop(),
    )
