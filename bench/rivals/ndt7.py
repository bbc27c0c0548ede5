"""M-Lab's ndt7 client in JavaScript, run by Node, against `bench.rivals.ndt7_server` on the server's host."""

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.tools import Inside, Run, accounted

HERE = Path(__file__).parent
NDT7_PORT = 8098


def ndt7_js(url: str, inside: Inside) -> Run:
    """One stream for ten seconds; the mean since its start, as the client says it."""
    program = ["node", str(HERE / "ndt7.cjs"), str(HERE / ".obtained" / "node_modules")]
    output, cost = accounted(inside, [*program, f"{urlsplit(url).hostname}:{NDT7_PORT}"], program)
    said = json.loads(output)
    return Run(said["MeanClientMbps"], said["NumBytes"], *cost)


def ndt7_serving(host: str) -> list[str]:
    """The command of the server that `ndt7_js` wants; it prints a line when it listens."""
    return [sys.executable, "-m", "bench.rivals.ndt7_server", host, str(NDT7_PORT)]
