"""Hostile payloads, each made from its number alone, so that one that does harm can be made again."""

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

from tests.support.stored import AGENT, BOOT, SPOOL

TEXTS = [
    *("", " ", "\n", "\r\n", "\t", "\0", "\\", "\\\\", '"', '\\"', "'", ",", "=", "#", "null", "NaN", "1i", "t"),
    *("a\nspeed,agent=thief down_mbps=999", 'x" down_mbps=9,y="', "a,line=4g", "a b=1", "a\\,b=c d", "ends\\", "x\\\n"),
    *("' OR '1'='1", '"; DROP MEASUREMENT speed', "); DROP TABLE speed;--", "<script>alert(1)</script>", "../../x"),
    *("Xóm 5", "🏡", "\u202eback", "\ufeff", "\u2028line", "\ud800", "a" * 300, "é" * 5000, "ﷺ" * 40, "%s%n"),
]  # fmt: skip
NUMBERS: list[Any] = [
    *(0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400, 0.1, -0.0, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), 1e22, 100.0000001, True, False),
]
TIMES = [
    *("2026-11-01T11:00:00Z", "1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("2262-05-01T00:00:00Z", "0"),
    *("2026-11-01T11:00:00+23:59", "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z", "2026-11-01 11:00:00", "now"),
    *("2026-11-01T11:00:60Z", "2026-11-01T11:00:00.123456789Z", "+12026-11-01T11:00:00Z"),
]  # fmt: skip
DATA: dict[str, dict[str, Any]] = {
    "speed": {
        **{"engine": "http", "server": "http://s.example/", "down_mbps": 100.0, "bytes": 10**8, "duration_s": 8.5},
        **{"flags": ["wifi"], "stop_reason": "stable", "series_mbps": [1.5, 99.0], "error_detail": "recv: 15 s"},
        "radio": {"technologies": ["lte"], "bands": ["eutran-3"], "rsrp_dbm": -104, "operator": "Viettel"},
    },
    "latency": {
        **{"method": "icmp", "anchors": ["192.0.2.1"], "sent": 10, "received": 9, "loss_percent": 10.0},
        "rtt_p50_ms": 4.5,
    },
    "outage": {"duration_s": 60.5, "failed_probes": 4, "anchors": ["192.0.2.1"]},
    "health": {
        **{"version": "0.1.0", "cpu_percent": 3.0, "load1": 0.1, "mem_used_percent": 20.0, "disk_free_bytes": 10**10},
        **{"disk_used_percent": 30.0, "uptime_s": 3600.0, "rss_bytes": 4 * 10**7, "spool_depth": 0},
        "spool_bytes": 4096,
        **{"clock_synced": True, "interfaces": [{"name": "eth0", "up": True, "rx_bytes": 1, "tx_bytes": 2}]},
    },
    "event": {
        **{"name": "manifest", "detail": "x", "first_seq": 1, "last_seq": 9, "count": 9, "digest": "0f" * 16},
    },
}  # fmt: skip


def case(number: int, seed: int = 0) -> tuple[str, bytes]:
    """Topic and payload. About a third is good enough to be stored: what gets in is where harm is done."""
    chance = random.Random(f"{seed}/{number}")
    message = _good(chance)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 5))):
        chance.choice(MUTATIONS)(chance, message)
    text = json.dumps(message, ensure_ascii=chance.random() < 0.5)
    payload = text.encode("utf-8", errors="surrogatepass")
    if chance.random() < 0.15:
        payload = _damaged(chance, payload)
    return _topic(chance), payload


def mutate(data: bytes, seed: int) -> bytes:
    """A JSON document with one thing in it changed; bytes that are none as they are."""
    chance = random.Random(seed)
    try:
        message = json.loads(data)
        chance.choice(ANY_JSON)(chance, message)
        return json.dumps(message, ensure_ascii=False).encode("utf-8", errors="surrogatepass")
    except (ValueError, RecursionError, TypeError, IndexError, KeyError, AttributeError):
        return data


def _good(chance: random.Random) -> dict[str, Any]:
    kind = chance.choice(list(DATA))
    message = {
        **{"v": 1, "agent": AGENT, "spool": SPOOL, "seq": chance.randrange(1, 2**53), "boot": BOOT, "kind": kind},
        **{"at": "2026-11-01T11:00:00Z", "clock": "synced", "data": json.loads(json.dumps(DATA[kind]))},
    }
    return message if kind == "health" else {**message, "line": "ftth"}


def _hostile(chance: random.Random) -> Any:
    """A value that was not asked for."""
    way = chance.randrange(8)
    if way < 3:
        return chance.choice(TEXTS)
    if way < 5:
        return chance.choice(NUMBERS)
    if way == 5:
        return chance.choice([None, [], {}, [None], {"": ""}, {"a": {"b": []}}, [[]] * 9, TEXTS[:9], NUMBERS[:9]])
    if way == 6:
        return "".join(
            chr(chance.choice((chance.randrange(32), chance.randrange(128), chance.randrange(0x3000))))
            for _ in range(chance.randrange(60))
        )
    nested: Any = chance.choice(TEXTS)
    for _ in range(chance.choice((3, 50, 400))):
        nested = [nested] if chance.random() < 0.5 else {"a": nested}
    return nested


def _places(message: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Every (container, key) of the message."""
    found: list[tuple[Any, Any]] = []
    waiting: list[Any] = [message]
    while waiting:
        here = waiting.pop()
        for key, value in here.items() if isinstance(here, dict) else enumerate(here):
            found.append((here, key))
            if isinstance(value, dict | list) and len(found) < 200:
                waiting.append(value)
    return found


def _replace(chance: random.Random, message: dict[str, Any]) -> None:
    here, key = chance.choice(_places(message))
    here[key] = _hostile(chance)


def _retext(chance: random.Random, message: dict[str, Any]) -> None:
    """A text for a text: what most often gets in."""
    texts = [(here, key) for here, key in _places(message) if isinstance(here[key], str)]
    if texts:
        here, key = chance.choice(texts)
        here[key] = chance.choice(TEXTS)


def _renumber(chance: random.Random, message: dict[str, Any]) -> None:
    numbers = [(here, key) for here, key in _places(message) if isinstance(here[key], int | float)]
    if numbers:
        here, key = chance.choice(numbers)
        here[key] = chance.choice(NUMBERS)


def _remove(chance: random.Random, message: dict[str, Any]) -> None:
    here, key = chance.choice(_places(message))
    del here[key]
    message.setdefault("v", 1)


def _add(chance: random.Random, message: dict[str, Any]) -> None:
    here = chance.choice([message, *(v for v in message.values() if isinstance(v, dict))])
    here[chance.choice([*TEXTS, "line", "agent", "time", "down_mbps", "radio", "at_error_s"])] = _hostile(chance)


def _retime(chance: random.Random, message: dict[str, Any]) -> None:
    message["at"] = chance.choice(TIMES)


def _rename(chance: random.Random, message: dict[str, Any]) -> None:
    message[chance.choice(("agent", "line", "kind", "spool", "clock"))] = chance.choice(
        [*TEXTS, "nd-b-2", "4g", "speed", "completeness", "line_state", str(uuid.UUID(int=chance.getrandbits(128)))]
    )


MUTATIONS: list[Callable[[random.Random, dict[str, Any]], None]] = [
    *(_replace, _retext, _retext, _retext, _renumber, _renumber, _remove, _add, _add, _retime, _rename),
]


ANY_JSON = [_replace, _retext, _renumber]
"""Those that want no message of ours."""


def _damaged(chance: random.Random, payload: bytes) -> bytes:
    way, at = chance.randrange(6), chance.randrange(len(payload) + 1)
    if way == 0:
        return payload[:at]
    if way == 1:
        return payload[:at] + bytes([chance.randrange(256)]) + payload[at + 1 :]
    if way == 2:
        return payload[:at] + chance.randbytes(chance.randrange(20)) + payload[at:]
    if way == 3:
        return payload + payload
    if way == 4:
        return payload[:-1] + b', "seq": 1e400}'
    return chance.choice(
        [b"", b"[" * 10_000, b'{"a":' * 5_000, b"\xff" * 99, b"x" * 20_000, b"null", b"{}", b"\xef\xbb\xbf{}"]
    )


def _topic(chance: random.Random) -> str:
    if chance.random() < 0.95:
        return f"xomnet/v1/{AGENT}/up"
    return chance.choice(
        [
            f"xomnet/v1/{AGENT}/ack",
            "xomnet/v1//up",
            "xomnet/v1/ND/up",
            "a\nb",
            "",
            "xomnet/v2/x/up",
            "xomnet/v1/nd-b-2/up",
        ]
    )
