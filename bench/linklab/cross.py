"""Cross traffic: a second flow through the same bottleneck, both of whose ends are counted."""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.linklab.emulator import EmulatorError, Program
from bench.linklab.link import check

PORT = 9009


@dataclass(frozen=True)
class Carried:
    """What a flow sent and what of it arrived. Bytes are those of IP packets. `refused` packets were turned away by the
    sender's own kernel; `behind_bytes` were never sent because the sender got no processor."""

    wall_s: float
    sent_packets: int
    sent_bytes: int
    received_packets: int
    received_bytes: int
    refused: int
    behind_bytes: int


class CrossTraffic:
    """A running flow; see Lab.cross_traffic."""

    def __init__(
        self, server: Path, client: Path, address: str, rate_mbps: float, on_s: float | None, off_s: float | None
    ) -> None:
        check("cross traffic: rate_mbps", rate_mbps, "above 0, at most 2000", lambda v: 0 < v <= 2000)
        check("cross traffic: on_s, off_s", (on_s, off_s), "both or none", lambda v: (v[0] is None) == (v[1] is None))
        arguments = [f"server={server}", f"client={client}", f"address={address}", f"port={PORT}"]
        arguments.append(f"rate={rate_mbps * 125_000}")
        if on_s is not None and off_s is not None:
            check("cross traffic: on_s, off_s", (on_s, off_s), "above 0", lambda v: min(v) > 0)
            arguments += [f"on={on_s}", f"off={off_s}"]
        self._program = Program("traffic", arguments)

    def carried(self) -> Carried:
        """So far; what is on its way counts as not received yet."""
        return Carried(**json.loads(self._program.ask()))

    def end(self) -> Carried:
        """Stops sending, waits half a second for what is on its way, and counts."""
        return Carried(**json.loads(self._program.end()))

    def discard(self) -> None:
        with contextlib.suppress(EmulatorError):
            self._program.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
