"""The long storm: `make chaos`, or `python -m tests.chaos --kills 1000 --results 100000 --seed 7`.

Writes `bench/results/chaos.json` and `.md`. A violation saves the histories under artifacts/chaos; the status is 1.
"""

import argparse
import datetime as dt
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.checker import INVARIANTS, Report
from tests.chaos.province import ROOT, Province, keep
from tests.chaos.stampede import stampede
from tests.chaos.storm import ALL_POINTS, BROKER, FEEDERS, Storm
from xomnet.runtime.log import setup

RESULTS = ROOT / "bench/results"


def storm(kills: int, results: int, seed: int, minutes: float) -> tuple[Storm, Report, dict[str, float]]:
    """The storm, the report on it, and how many seconds it and the drain took."""
    feeders = {name: how | {"pace": 30.0, "seed": seed} for name, how in FEEDERS.items()}
    feeders["nd-bad"]["poison"], feeders["nd-small"]["spool_bytes"] = 0.01, 30_000
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        province = Province(
            Path(folder) / "province", feeders, unit=True, broker_settings=BROKER, limits={"drain_s": 300}
        )
        with province:
            began = time.monotonic()
            raging = Storm(province, seed, kills, results, limit_s=minutes * 60, calm=2)
            raging.rage(lambda text: print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True), 20)
            ended = time.monotonic()
            province.heal()
            province.drain(300)
            drained = time.monotonic()
            report = province.judge()
            if report.violations:
                print(f"histories in {keep(province, f'storm-{seed}')}")
    return raging, report, {"storm_s": round(ended - began, 1), "drain_s": round(drained - ended, 1)}


def written(figures: dict[str, Any]) -> str:
    """The figures for people."""
    counts, kills = figures["counts"], figures["kills"]
    rows = [
        ("results committed", counts["committed"]),
        ("of them stored", counts["stored_of_committed"]),
        ("rejected, and reported (the database refused them on purpose)", counts["rejected"]),
        ("evicted, and reported (one unit has room for 30 kB)", counts["evicted"]),
        ("**lost**", counts["lost"]),
        ("**invented**", counts["invented"]),
        ("**doubled**", counts["doubled"]),
        ("**altered**", counts["altered"]),
        ("violations of all invariants", figures["violations"]),
        ("acked results read back after an immediate kill of the database", counts["read_after_kill"]),
        ("kills (SIGKILL)", figures["kills_total"]),
        *((f"… of {what}", kills[what]) for what in sorted(kills)),
        ("… of them at named crash points", sum(figures["died_at"].values())),
        ("bad links and bad answers of the database", sum(figures["faults"].values())),
        ("storm, s", figures["storm_s"]),
        ("then all spools empty after, s", figures["drain_s"]),
    ]
    crowd = figures["stampede"]
    return "\n".join(
        [
            f"The last long storm: {figures['date']}, seed {figures['seed']} (`{figures['command']}`).",
            "",
            *("| | |", "|---|---|", *(f"| {name} | {value:,} |" for name, value in rows)),
            "",
            f"{crowd['agents']} units after the broker had been away for 5 s: all back in {crowd['back_s']} s, "
            f"at most {crowd['peak_per_s']} in one second.",
            "",
            "Deaths at each crash point:",
            "",
            *("| point | times |", "|---|---|", *(f"| {at} | {n} |" for at, n in sorted(figures["died_at"].items()))),
            "",
            "Faults beside the kills:",
            "",
            *(
                "| fault | times |",
                "|---|---|",
                *(f"| {what} | {n} |" for what, n in sorted(figures["faults"].items())),
            ),
            "",
            "What the checker holds to be true (`tests/chaos/checker.py`):",
            "",
            *(f"- {name}, {text}" for name, text in INVARIANTS.items()),
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--results", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=45, help="the storm ends after these, whatever it has done")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder for chaos.json and chaos.md")
    asked = parser.parse_args()
    setup("error")
    print(f"seed {asked.seed}", flush=True)
    raging, report, times = storm(asked.kills, asked.results, asked.seed, asked.minutes)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        crowd = stampede(Path(folder))
    figures = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "seed": asked.seed,
        "command": f"python -m tests.chaos --kills {asked.kills} --results {asked.results} --seed {asked.seed}",
        "kills_total": raging.total,
        "kills": dict(raging.kills),
        "died_at": dict(raging.died_at),
        "faults": dict(raging.faults),
        "counts": report.counts,
        "violations": len(report.violations),
        **times,
        "stampede": crowd._asdict() | {"back_s": round(crowd.back_s, 1)},
    }
    asked.into.mkdir(parents=True, exist_ok=True)
    (asked.into / "chaos.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    (asked.into / "chaos.md").write_text(written(figures))
    print(written(figures))
    for violation in report.violations[:50]:
        print(f"{violation.invariant} {violation.text}")
    short = [
        *(["kills"] if raging.total < asked.kills else []),
        *(["results"] if report.counts["committed"] < asked.results else []),
        *sorted(ALL_POINTS - raging.died_at.keys()),
    ]
    if short:
        print(f"time was up before enough: {', '.join(short)}")
    return 1 if report.violations or short else 0


if __name__ == "__main__":
    sys.exit(main())
