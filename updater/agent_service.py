"""The unit's service, as the updater sees it: its status page, and its restart."""

import http.client
import json
import subprocess
import time
import urllib.request
from typing import Any

from .settings import UpdaterSettings

STATUS_S = 5.0
RESTART_S = 180.0


def agent_status(url: str) -> dict[str, Any]:
    """The status document of the agent; empty if it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=STATUS_S) as answer:  # noqa: S310  # a setting: loopback
            found = json.loads(answer.read(200_000))
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return found if isinstance(found, dict) else {}


def is_acknowledged(status: dict[str, Any], version: str) -> bool:
    """Whether the collector has acknowledged a result of this version.

    An agent reports only acknowledgements to its own process, so no clocks are compared: the time is the collector's.
    """
    return status.get("version") == version and bool(status.get("last_ack_at"))


def wait_for_ack(settings: UpdaterSettings, version: str) -> bool:
    """Waits up to `ack_s` for an acknowledgement of the collector; returns whether there was one."""
    deadline = time.monotonic() + settings.ack_s
    while time.monotonic() < deadline:
        if is_acknowledged(agent_status(settings.status_url), version):
            return True
        time.sleep(settings.poll_s)
    return False


def restart(settings: UpdaterSettings) -> bool:
    """Restarts the service; returns whether it started."""
    try:
        return subprocess.run(settings.restart, timeout=RESTART_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
