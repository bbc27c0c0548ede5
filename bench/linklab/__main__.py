"""`python -m bench.linklab`: a command on an emulated link, and the laboratory's self-check."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from bench.linklab import selfcheck
from bench.linklab.build import BuildError
from bench.linklab.emulator import EmulatorError, Overrun
from bench.linklab.laboratory import laboratory
from bench.linklab.link import CONGESTION_CONTROLS, Link, LinkError
from bench.linklab.namespaces import NotAllowed
from bench.linklab.trace import TraceError

EXAMPLES = """examples:
  python -m bench.linklab --rate 150 --rtt 100 -- ping -c 5 10.77.0.1
  python -m bench.linklab --rate 70 --rtt 50 --loss 0.001 --serve 'iperf3 -s' -- sh -c 'iperf3 -R -c $LINKLAB_SERVER'
  python -m bench.linklab check [--quick] [--json] [--write]
"""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m bench.linklab",
        description="Runs a command on an emulated link. $LINKLAB_SERVER is the server's address, $LINKLAB_INTERFACE"
        " the client's interface. Needs root.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--rate", type=float, metavar="MBPS", help="way down, in Mb/s of IP packets")
    made.add_argument("--up", type=float, metavar="MBPS", help="way up; the rate of the way down by default")
    made.add_argument("--rtt", type=float, default=0.0, metavar="MS", help="round trip, half of it each way")
    made.add_argument("--jitter", type=float, default=0.0, metavar="MS", help="half-width, on the way down, in order")
    made.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help="random, on the way down: 0.01 is 1 %%")
    made.add_argument("--buffer", type=float, metavar="MS", help="drop-tail queue; 80 ms by default")
    made.add_argument(
        "--trace", type=Path, metavar="FILE", help="packet opportunities in mahimahi's format, for --rate"
    )
    made.add_argument("--steps", default="", metavar="S:MBPS,…", help="rates from seconds on, for --rate: 0:100,3:50")
    made.add_argument("--congestion", default="cubic", choices=CONGESTION_CONTROLS, help="of the server's TCP")
    made.add_argument("--kind", default="tun", choices=("tun", "tbf"), help="tbf: no delay, for 500 Mb/s and more")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--serve", metavar="COMMAND", help="a shell command in the server's namespace, ended at the end")
    made.add_argument("command", nargs="+", help="run in the client's namespace; or `check`")
    return made


def link_from(given: argparse.Namespace) -> Link:
    """Raises LinkError."""
    try:
        steps = tuple(
            (float(at), float(rate)) for at, rate in (part.split(":") for part in given.steps.split(",") if part)
        )
    except ValueError as error:
        raise LinkError(f"--steps: found {given.steps!r}; allowed: SECOND:MBPS,SECOND:MBPS,…") from error
    return Link(
        rate_mbps=given.rate,
        up_mbps=given.up,
        rtt_ms=given.rtt,
        jitter_ms=given.jitter,
        loss=given.loss,
        buffer_ms=given.buffer,
        trace=given.trace,
        steps=steps,
        congestion=given.congestion,
        kind=given.kind,
        seed=given.seed,
    )


def run_command(argv: list[str]) -> int:
    """The command's exit status."""
    given = parser().parse_args(argv)
    with laboratory(link_from(given)) as lab:
        known = {"LINKLAB_SERVER": lab.server_address, "LINKLAB_INTERFACE": lab.client_interface}
        if given.serve:
            lab.popen("server", ["sh", "-c", f"exec {given.serve}"], stdout=subprocess.DEVNULL)
        with lab.popen("client", given.command, env=os.environ | known) as process:
            status: int = process.wait()
    return status


def run_check(argv: list[str]) -> int:
    """0 when every promise holds."""
    made = argparse.ArgumentParser(
        prog="python -m bench.linklab check", description="Proves the laboratory. Needs root."
    )
    made.add_argument("--quick", action="store_true", help="a subset of about half a minute")
    made.add_argument("--json", action="store_true", help="one JSON document on standard output")
    made.add_argument("--write", action="store_true", help="write bench/results/linklab.json and .md")
    given = made.parse_args(argv)

    def tell(outcome: selfcheck.Outcome) -> None:
        for promise, found, allowed, cpu, late, stolen, verdict in selfcheck.rows(outcome):
            print(f"{promise:<60} {found:>13}  {allowed:<15} {cpu:>4} {late:>5} {stolen:>5}  {verdict}", flush=True)

    if not given.json:
        print(f"{'promise':<60} {'found':>13}  {'allowed':<15} {'cpu':>4} {'late':>5} {'steal':>5}")
    outcomes = selfcheck.run(quick=given.quick, tell=(lambda _: None) if given.json else tell)
    if given.json:
        print(json.dumps(selfcheck.document(outcomes), ensure_ascii=False))
    if given.write:
        selfcheck.write(outcomes)
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def main(argv: list[str]) -> int:
    try:
        return run_check(argv[1:]) if argv[:1] == ["check"] else run_command(argv)
    except (BuildError, EmulatorError, LinkError, NotAllowed, Overrun, TraceError, ChildProcessError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
