"""Has the collector answered the agent that runs now? The agent's own status page knows."""

import http.client
import json
import time
import urllib.request
from typing import Any

from .settings import UpdaterSettings

ASK_S = 5.0


def status(url: str) -> dict[str, Any]:
    """What the agent says of itself; nothing where none answers."""
    try:
        with urllib.request.urlopen(url, timeout=ASK_S) as answer:  # noqa: S310  # a setting: loopback
            found = json.loads(answer.read(200_000))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return found if isinstance(found, dict) else {}


def acknowledged(found: dict[str, Any], version: str) -> bool:
    """Whether this version has had an answer of the collector. An agent remembers answers to its own process only, so
    no clock need be compared: the answer's time is the collector's.
    """
    return found.get("version") == version and bool(found.get("last_ack_at"))


def wait(settings: UpdaterSettings, version: str) -> bool:
    """Waits up to `ack_s` for the collector's answer."""
    deadline = time.monotonic() + settings.ack_s
    while time.monotonic() < deadline:
        if acknowledged(status(settings.status_url), version):
            return True
        time.sleep(settings.poll_s)
    return False
