"""The laboratory: a server's namespace, a client's, and one or two emulated links between them."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from bench.linklab.cross import CrossTraffic
from bench.linklab.emulator import LATE_SHARE, Emulator, Overrun, Statistics
from bench.linklab.kernel import configure_devices, configure_tcp, make_tbf
from bench.linklab.link import Link, LinkError
from bench.linklab.namespaces import NETNS, namespaces

Side = Literal["server", "client"]
SERVER_ADDRESS = "10.77.0.1"
RUN_S = 120.0


@dataclass(frozen=True)
class Way:
    """One link in place: its ends, and its emulator (a tbf link has none)."""

    link: Link
    server_interface: str
    client_interface: str
    client_address: str
    emulator: Emulator | None


class Lab:
    """Two namespaces and what lies between them. The attributes named for one link are of the first one."""

    server_address = SERVER_ADDRESS

    def __init__(self, server_ns: str, client_ns: str) -> None:
        self.server_ns, self.client_ns = server_ns, client_ns
        self.ways: list[Way] = []
        self._ended: contextlib.ExitStack = contextlib.ExitStack()

    @property
    def link(self) -> Link:
        return self.ways[0].link

    @property
    def client_address(self) -> str:
        return self.ways[0].client_address

    @property
    def client_interface(self) -> str:
        return self.ways[0].client_interface

    def inside(self, side: Side, argv: list[str]) -> list[str]:
        """The command line that runs `argv` in a side's namespace. It replaces itself: the process id is argv's own."""
        return ["ip", "netns", "exec", self.server_ns if side == "server" else self.client_ns, *argv]

    def run(
        self, side: Side, argv: list[str], *, timeout: float = RUN_S, check: bool = True, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """subprocess.run inside a side's namespace: output captured as text, an error raised with it."""
        given: dict[str, Any] = {"capture_output": True, "text": True} | more
        done = subprocess.run(self.inside(side, argv), timeout=timeout, check=False, **given)
        if check and done.returncode:
            said = f"{done.stderr or ''}{done.stdout or ''}".strip()
            raise ChildProcessError(f"{' '.join(argv)} on the {side} ended with {done.returncode}: {said}")
        return done

    def popen(self, side: Side, argv: list[str], **more: Any) -> subprocess.Popen[Any]:
        """subprocess.Popen inside a side's namespace; ended with the laboratory at the latest."""
        process: subprocess.Popen[Any] = subprocess.Popen(self.inside(side, argv), **more)
        self._ended.callback(_end, process)
        return process

    def _emulator(self, number: int) -> Emulator:
        emulator = self.ways[number].emulator
        if emulator is None:
            raise LinkError("kind: found 'tbf', which keeps no statistics and has no clock; allowed here: tun")
        return emulator

    def statistics(self, number: int = 0) -> Statistics:
        """What the emulator of a link counted so far."""
        return self._emulator(number).statistics()

    def check_overrun(self, late_share: float = LATE_SHARE) -> None:
        """Raises Overrun if an emulator did not keep up until now."""
        for way in self.ways:
            if way.emulator is not None and (reason := way.emulator.statistics().overrun(late_share)):
                raise Overrun(f"the emulator of {way.client_interface} did not keep up: {reason}")

    def restart_clock(self, number: int = 0) -> None:
        """The rate steps start again with the next transfer."""
        self._emulator(number).restart_clock()

    def cross_traffic(
        self, rate_mbps: float, on_s: float | None = None, off_s: float | None = None, *, number: int = 0
    ) -> CrossTraffic:
        """A second flow (UDP, 1500-byte packets) down the same link: constant, or `on_s` seconds on and `off_s` off.

        It runs until `.end()` or the end of `with`, which gives what was sent and received.
        """
        address = self.ways[number].client_address
        cross = CrossTraffic(NETNS / self.server_ns, NETNS / self.client_ns, address, rate_mbps, on_s, off_s)
        self._ended.callback(cross.discard)
        return cross

    def add(self, link: Link) -> None:
        """Puts a link between the two namespaces."""
        number = len(self.ways)
        server_interface, client_interface = f"wan{number}", f"line{number}"
        emulator = None
        if link.kind == "tun":
            server, client = NETNS / self.server_ns, NETNS / self.client_ns
            emulator = Emulator(link, (server, server_interface), (client, client_interface))
            self._ended.callback(emulator.discard)
        else:
            make_tbf(self.server_ns, self.client_ns, server_interface, client_interface, link)
        client_address = configure_devices(
            self.server_ns,
            self.client_ns,
            server_interface,
            client_interface,
            SERVER_ADDRESS,
            number,
            tun=emulator is not None,
        )
        self.ways.append(Way(link, server_interface, client_interface, client_address, emulator))

    def close(self) -> None:
        """Ends every process of the laboratory, the last one first."""
        self._ended.close()


def _end(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends this process by an exception, so that everything is cleaned up. A handler in place stays."""
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    if mine:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _between(*links: Link, late_share: float) -> Iterator[Lab]:
    with _sigterm_unwinds(), namespaces("server", "client") as made:
        lab = Lab(made["server"], made["client"])
        try:
            configure_tcp(lab.server_ns, lab.client_ns, links[0].congestion)
            for link in links:
                lab.add(link)
            yield lab
            lab.check_overrun(late_share)
        finally:
            lab.close()


def laboratory(link: Link, *, late_share: float = LATE_SHARE) -> contextlib.AbstractContextManager[Lab]:
    """Two namespaces with an emulated link between them, while the `with` lasts.

    Raises NotAllowed without root, LinkError for what the kernel does not have, and at the end Overrun when the
    emulator could not keep up: then every figure taken inside is void. Nothing is raised over an exception from inside.
    `late_share` is the share of packets that may be over 2 ms late.
    """
    return _between(link, late_share=late_share)


def two_paths(first: Link, second: Link, *, late_share: float = LATE_SHARE) -> contextlib.AbstractContextManager[Lab]:
    """A client with two links to one server: `line0` has the default route, `line1` is only taken by who pins it
    (SO_BINDTODEVICE). `lab.ways` has both."""
    if first.congestion != second.congestion:
        raise LinkError(f"congestion: found {second.congestion!r} on the second link; allowed: {first.congestion}")
    return _between(first, second, late_share=late_share)
