"""`echo.py ADDRESS COUNT INTERVAL_S`: ICMP echoes as ping sends them, the round trips in ms as a JSON list.

ping itself shows three digits: whole milliseconds from 100 ms on.
"""

import json
import select
import socket
import struct
import sys
import time

ECHO_REQUEST = 8
LAST_WAIT_S = 3.0
DATA = bytes(56)


def checksum(packet: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(number: int) -> bytes:
    header = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, 0, number)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(header + DATA), 0, number) + DATA


def round_trips_ms(address: str, count: int, interval_s: float) -> list[float]:
    """Of the echoes that came back, in the order in which they did."""
    sent: dict[int, float] = {}
    found: list[float] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as pinger:
        pinger.connect((address, 0))
        start = time.perf_counter()
        last = start + (count - 1) * interval_s + LAST_WAIT_S
        while len(found) < count and (now := time.perf_counter()) < last:
            following = start + len(sent) * interval_s if len(sent) < count else last
            if select.select([pinger], [], [], max(0.0, following - now))[0]:
                came = time.perf_counter()
                number = struct.unpack("!H", pinger.recv(2048)[6:8])[0]
                found.append((came - sent[number]) * 1000)
            elif len(sent) < count:
                number = len(sent)
                sent[number] = time.perf_counter()
                pinger.send(request(number))
    return found


if __name__ == "__main__":
    print(json.dumps(round_trips_ms(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
