"""Units with a backlog: clients that send what waits and keep to the window, as the real ones do."""

import datetime as dt
import json
import threading
import uuid

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.sender import result

WINDOW = 64
"""Results that an agent has under way without an answer."""


def row(agent: str) -> str:
    return f"{agent},ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01"


class Agent:
    """One that has a backlog of `results` and keeps to the window, as the real one does; `log` notes every ack."""

    def __init__(self, port: int, name: str, results: int, log: list[str]) -> None:
        self.name, self.left, self._log = name, results, log
        self._next, self._last = 1, results
        self._spool = str(uuid.uuid4())
        self._begin = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
        subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(1000)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._acknowledged
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"xomnet/v1/{name}/ack", qos=1)
        assert subscribed.wait(10)

    def start(self) -> None:
        for _ in range(WINDOW):
            self._send()

    def _send(self) -> None:
        if self._next <= self._last:
            at = self._begin + dt.timedelta(milliseconds=self._next)
            message = result(self._next, agent=self.name, spool=self._spool, at=at.isoformat())
            self._client.publish(f"xomnet/v1/{self.name}/up", json.dumps(message), qos=1)
            self._next += 1

    def _acknowledged(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        for stored in json.loads(message.payload).get("stored", []):
            for _ in stored["seqs"]:
                self.left -= 1
                self._log.append(self.name)
                self._send()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
