"""TCP between two loopback ports, whose manners can be changed while it runs."""

import asyncio
import socket
import struct
import threading
from typing import Literal

Manner = Literal["pass", "blackhole", "cut_up", "cut_down", "slow", "reset"]
"""`blackhole`: nothing arrives, and nobody is told; `cut_up`, `cut_down`: so in one direction (up is towards the
target). What is under way then arrives afterwards, as TCP would send it again. `slow`: 4 kB/s each way."""

SLOW_BYTES, SLOW_S = 400, 0.1


class Proxy:
    """Listens on `port` from its making until `close`."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.manner: Manner = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()

    def set(self, manner: Manner) -> None:
        """From any thread; `reset` ends every connection at once, and refuses new ones while it lasts."""
        self.manner = manner
        if manner == "reset":
            self._loop.call_soon_threadsafe(self._reset_all)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._reset_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.manner == "reset":
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self._writers |= both
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, "cut_up")),
            asyncio.create_task(self._pump(far_reader, writer, "cut_down")),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for one in both:
            one.close()
        self._writers -= both

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Manner) -> None:
        try:
            while True:
                data = await reader.read(SLOW_BYTES if self.manner == "slow" else 65_536)
                while self.manner in ("blackhole", cut):
                    await asyncio.sleep(0.05)
                if not data:
                    return
                if self.manner == "slow":
                    await asyncio.sleep(SLOW_S)
                writer.write(data)
                await writer.drain()
        except OSError:
            return

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection with RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
