"""Many units when the broker comes back: how long until all are there again, and how many come in one second."""

import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.support.deployment import made, until
from tests.support.services import Mosquitto
from xomnet.mqtt.broker import Broker
from xomnet.mqtt.link import Connection, Handler, Link


class Stampede(NamedTuple):
    agents: int
    back_s: float
    """From the start of the broker until the last of them was connected."""
    peak_per_s: int


class _Door(Handler):
    def __init__(self) -> None:
        self.came_at: list[float] = []
        self._lock = threading.Lock()

    def on_connected(self, connection: Connection) -> None:
        with self._lock:
            self.came_at.append(time.monotonic())


def stampede(folder: Path, agents: int = 200, away_s: float = 5.0, limit_s: float = 120.0) -> Stampede:
    """Kills a broker that `agents` links are connected to, and starts it again. Raises TimeoutError."""
    door = _Door()
    with Mosquitto(made(folder, "broker")) as broker:
        where = Broker(port=broker.port)
        links = [Link(where, f"nd-{number}", door, (f"xomnet/v1/nd-{number}/ack",)) for number in range(agents)]
        for link in links:
            link.start()
        try:
            until(lambda: len(door.came_at) >= agents, "all are connected", limit_s)
            broker.kill()
            time.sleep(away_s)
            door.came_at.clear()
            began = time.monotonic()
            broker.start()
            until(lambda: len(door.came_at) >= agents, "all are back", limit_s)
        finally:
            for link in links:
                link.stop(0)
    seconds = Counter(int(came - began) for came in door.came_at)
    return Stampede(agents, max(door.came_at) - began, max(seconds.values()))
