"""`python -m tests.fuzz [TARGET …] [--for SECONDS]`: each ten minutes, two at once; writes bench/results/fuzz.md.

`openapi` is the REST interface of a collector, asked by Schemathesis whatever its description allows and does not.
"""

import argparse
import datetime as dt
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import ROOT, TARGETS
from tests.support.deployment import Collector, made, plain
from tests.support.services import Mosquitto

REST = "openapi"
RESULTS = ROOT / "bench/results/fuzz.md"
CRASHES = ROOT / "artifacts/fuzz"
AT_ONCE = 2
INPUT_S, MEMORY_MB, MAX_BYTES = 10, 2048, 4096
"""Beyond which an input counts as a crash; the longest input."""
GRACE_S = 120


@dataclass(frozen=True)
class FuzzRun:
    """`crash` is what did harm: the file of the input, or of Schemathesis's report."""

    target: str
    seconds: int
    inputs: int
    edges: int | None
    crash: Path | None
    output: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join([*TARGETS, REST])}; default: all")
    parser.add_argument("--for", dest="seconds", type=int, default=600)
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - {*TARGETS, REST}:
        parser.error(f"found {unknown.pop()!r}; allowed: {', '.join([*TARGETS, REST])}")
    CRASHES.mkdir(parents=True, exist_ok=True)
    wanted = arguments.targets or [*TARGETS, REST]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(
            pool.map(lambda name: run_rest(arguments.seconds) if name == REST else run(name, arguments.seconds), wanted)
        )
    for one in runs:
        said = f"harm by {one.crash}\n{one.output[-3000:]}" if one.crash else "no harm"
        print(f"{one.target}: {one.inputs} inputs in {one.seconds} s, {said}")
    if not arguments.targets:
        RESULTS.write_text(report(runs, dt.datetime.now(dt.UTC).date()), encoding="utf-8")
    return int(any(one.crash for one in runs))


def run(target: str, seconds: int) -> FuzzRun:
    """One target in a process of its own, from its seeds."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(TARGETS[target].seeds):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        prefix = CRASHES / f"{target}-"
        before = set(CRASHES.glob(f"{prefix.name}*"))
        limits = [f"-timeout={INPUT_S}", f"-rss_limit_mb={MEMORY_MB}", f"-max_len={MAX_BYTES}"]
        options = [f"-max_total_time={seconds}", *limits, f"-artifact_prefix={prefix}", "-print_final_stats=1"]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.child", target, corpus, *options],
            cwd=ROOT,
            text=True,
            errors="replace",
            capture_output=True,
            timeout=seconds + GRACE_S,
            check=False,
        )
    output = done.stdout + done.stderr
    crashes = sorted(set(CRASHES.glob(f"{prefix.name}*")) - before)
    if done.returncode and not crashes:
        raise RuntimeError(f"{target}: the fuzzer ended with {done.returncode}: {output[-3000:]}")
    inputs = re.search(r"stat::number_of_executed_units:\s+(\d+)", output)
    edges = re.findall(r"\bcov: (\d+)", output)
    return FuzzRun(
        target,
        seconds,
        int(inputs[1]) if inputs else 0,
        int(edges[-1]) if edges else 0,
        crashes[0] if crashes else None,
        output,
    )


def run_rest(seconds: int) -> FuzzRun:
    """Every answer of a collector is one that its description has, and none a fault (5xx)."""
    with tempfile.TemporaryDirectory() as place, Mosquitto(made(Path(place), "broker")) as broker:
        folder = made(Path(place), "collector")
        token = folder / "operator-token"
        token.touch(0o600)
        token.write_text("t" * 40)
        rows = ["nd-a,ftth,fixed,Xóm 1,Nam Định/Hải Hậu,VNPT,2024-01-01"]
        with Collector(folder, plain(broker), rows, web={"operator_token_file": str(token)}) as collector:
            done = subprocess.run(
                [
                    *(Path(sys.executable).with_name("st"), "run", f"http://127.0.0.1:{collector.port}/openapi.json"),
                    *("--max-time", str(seconds), "--header", f"Authorization: Bearer {token.read_text()}"),
                    # a span of times that is too long is refused, which no description can say; and the type of a
                    # body is looked at before its token is missed, so that 415 comes where 401 is expected
                    *("--exclude-checks", "positive_data_acceptance,missing_required_header", "--continue-on-failure"),
                    *("--phases", "examples,coverage,fuzzing", "--generation-database", "none", "--no-color"),
                ],
                text=True,
                capture_output=True,
                timeout=seconds + GRACE_S,
                check=False,
            )
    cases = re.search(r"(\d+) generated", done.stdout)
    failed = CRASHES / f"{REST}.txt"
    if done.returncode:
        failed.write_text(done.stdout + done.stderr, encoding="utf-8")
    return FuzzRun(REST, seconds, int(cases[1]) if cases else 0, None, failed if done.returncode else None, done.stdout)


def report(runs: list[FuzzRun], day: dt.date) -> str:
    rows = "".join(
        f"| {one.target} | {one.seconds} | {one.inputs:,} | {one.edges or '–'} | {one.crash or 'none'} |\n"
        for one in runs
    )
    return (
        f"The last run of the fuzzer: {day} (`make fuzz`).\n\n"
        "| target | s | inputs | edges of the code reached | harm |\n|---|---|---|---|---|\n" + rows
    )


if __name__ == "__main__":
    sys.exit(main())
