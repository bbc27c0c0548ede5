"""The MQTT topics of contract version 1: `xomnet/v1/{agent}/{channel}`."""

import re
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

PREFIX = "xomnet/v1"

Channel = Literal["up", "ack", "state", "cmd", "reply"]
CHANNELS: frozenset[str] = frozenset(get_args(Channel))

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,31}$(?!\n)"
"""What an agent or a line may be called: it becomes a topic level, a certificate name, a tag and a path of the page.

Python's `$` also matches before a line feed at the end; `(?!\\n)` forbids that, in the JSON Schemas too.
"""

_NAME = re.compile(NAME_PATTERN)


class Topic(NamedTuple):
    agent: str
    channel: Channel


def is_name(text: str) -> bool:
    """True if `text` may be the name of an agent or a line."""
    return _NAME.fullmatch(text) is not None


def topic(agent: str, channel: Channel) -> str:
    """The topic of one agent's channel."""
    return f"{PREFIX}/{agent}/{channel}"


def topic_filter(channel: Channel) -> str:
    """The subscription filter that matches a channel of all agents."""
    return f"{PREFIX}/+/{channel}"


@lru_cache(maxsize=65_536)
def parse(text: str) -> Topic | None:
    """The agent and channel of a topic; None if it is not one of ours."""
    parts = text.split("/")
    if len(parts) != 4 or "/".join(parts[:2]) != PREFIX or not is_name(parts[2]) or parts[3] not in CHANNELS:
        return None
    return Topic(parts[2], parts[3])  # type: ignore[arg-type]  # checked on the line above
