"""The sending half of ndt7's download: `python -m bench.rivals.ndt7_server HOST PORT`, over plain WebSocket.

M-Lab's server is in no registry that we use, so this one follows the protocol as its documents describe it: ten
seconds of random bytes in binary messages that grow with what was sent. It sends no measurements of its own.
"""

import base64
import hashlib
import os
import socketserver
import struct
import sys
import time

RUN_S = 10.0
STALL_S = 5.0
FIRST_BYTES, LAST_BYTES = 2**13, 2**20
GROW_AT = 16
"""A message is at most this part of what was sent before it, as in the specification's example."""

PROTOCOL = "net.measurementlab.ndt.v7"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE = bytes([0x88, 2]) + struct.pack("!H", 1000)


def frame(payload: bytes) -> bytes:
    """One binary message as RFC 6455 has it (5.2): final, not masked, of 64 KiB or more with the longest length."""
    size = len(payload)
    head = struct.pack("!BBH", 0x82, 126, size) if size < 2**16 else struct.pack("!BBQ", 0x82, 127, size)
    return head + payload


def accepting(key: str) -> str:
    """The head that answers an upgrade with this Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
    return "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", f"Sec-WebSocket-Protocol: {PROTOCOL}", "", ""])


class Download(socketserver.StreamRequestHandler):
    """One client and its test."""

    timeout = STALL_S
    disable_nagle_algorithm = True

    def handle(self) -> None:
        request = self.rfile.readline(4096).decode("latin-1")
        fields = [
            line.decode("latin-1").partition(":") for line in iter(lambda: self.rfile.readline(4096).strip(), b"")
        ]
        head = {name.strip().lower(): value.strip() for name, _, value in fields}
        if not request.startswith("GET /ndt/v7/download") or head.get("sec-websocket-protocol") != PROTOCOL:
            self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        self.wfile.write(accepting(head.get("sec-websocket-key", "")).encode())
        try:
            self._send()
            self.rfile.read1()  # the goodbye of the client, which leaves it to us to close
        except OSError:  # the client went, or the line stood still
            return

    def _send(self) -> None:
        payload = os.urandom(LAST_BYTES)
        size, sent, ends_at = FIRST_BYTES, 0, time.monotonic() + RUN_S
        message = frame(payload[:size])
        while time.monotonic() < ends_at:
            self.connection.sendall(message)
            sent += size
            if size < LAST_BYTES and size <= sent // GROW_AT:
                size *= 2
                message = frame(payload[:size])
        self.connection.sendall(_CLOSE)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server((sys.argv[1], int(sys.argv[2])), Download) as server:
        print(f"ws://{sys.argv[1]}:{server.server_address[1]}", flush=True)
        server.serve_forever()
