"""A client that is no unit: it sends a collector what it likes, and keeps the answers."""

import datetime as dt
import json
import os
import threading
import uuid
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

ROWS = [
    "nd-a,ftth,fixed,Xóm 5,Nam Định/Hải Hậu/Hải Minh,VNPT,2026-01-01",
    "nd-b,ftth,fixed,Xóm 2,Nam Định/Giao Thủy/Giao Thiện,FPT,2026-01-01",
]
SPOOL = str(uuid.UUID(int=7))


class Sender:
    """A client that is no xomnet agent: it publishes what it likes and keeps the acks."""

    def __init__(self, port: int, name: str = "test") -> None:
        self.acks: list[tuple[str, dict[str, Any]]] = []
        self._posted: paho.MQTTMessageInfo | None = None
        client_id = f"{name}-{os.getpid()}"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = lambda _c, _u, m: self.acks.append((m.topic, json.loads(m.payload)))
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe("xomnet/v1/+/ack", qos=1)
        assert subscribed.wait(10)

    def send(self, payload: bytes | dict[str, Any], topic: str = "xomnet/v1/nd-a/up") -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self._client.publish(topic, body, qos=1).wait_for_publish(10)

    def post(self, payload: dict[str, Any], topic: str = "xomnet/v1/nd-a/up") -> None:
        """As `send`, without waiting for the broker; `close` waits for all."""
        self._posted = self._client.publish(topic, json.dumps(payload).encode(), qos=1)

    def stored(self) -> set[int]:
        return {seq for _, ack in self.acks for stored in ack.get("stored", []) for seq in stored["seqs"]}

    def rejected(self) -> dict[int, str]:
        return {one["seq"]: one["reason"] for _, ack in self.acks for one in ack.get("rejected", [])}

    def close(self) -> None:
        if self._posted is not None:
            self._posted.wait_for_publish(60)
        self._client.disconnect()
        self._client.loop_stop()


def result(seq: int, **changes: Any) -> dict[str, Any]:
    """A good latency result of nd-a / ftth."""
    data = {"method": "icmp", "anchors": ["192.0.2.1"], "sent": 10, "received": 10, "loss_percent": 0, "rtt_p50_ms": 4}
    return {
        "v": 1,
        "agent": "nd-a",
        "spool": SPOOL,
        "seq": seq,
        "boot": str(uuid.UUID(int=1)),
        "line": "ftth",
        "kind": "latency",
        "at": dt.datetime.now(dt.UTC).isoformat(),
        "clock": "synced",
        "data": data,
        **changes,
    }
