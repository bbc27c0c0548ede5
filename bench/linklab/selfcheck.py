"""Runs the checks and shows what they found."""

import json
import os
import platform
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.linklab.checks import CHECKS, Check, Finding
from bench.linklab.emulator import Overrun

ATTEMPTS = 3
RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Outcome:
    """What one check found. `earlier`: why attempts before this one failed or were void. `stolen_share`: of the
    machine's processors, what the hypervisor gave to others meanwhile; nobody keeps his times where it is high."""

    name: str
    findings: tuple[Finding, ...]
    stolen_share: float
    earlier: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return bool(self.findings) and all(finding.holds for finding in self.findings)


def _processor_ticks() -> tuple[int, int]:
    """All ticks of all processors, and those that the hypervisor took."""
    ticks = [int(found) for found in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(ticks), ticks[7]


def carry_out(check: Check, attempts: int = ATTEMPTS) -> Outcome:
    """Measures until the promise holds, a few times at most: another program's burst on this machine is not the
    laboratory's fault, but a promise that never holds is. What failed before is kept and shown."""
    earlier: list[str] = []
    findings: tuple[Finding, ...] = ()
    stolen_share = 0.0
    for _ in range(attempts):
        before = _processor_ticks()
        try:
            findings = tuple(check.measure())
        except Overrun as error:
            findings = ()
            earlier.append(f"overrun: {error}")
            continue
        finally:
            ticks, stolen = (now - then for now, then in zip(_processor_ticks(), before, strict=True))
            stolen_share = stolen / max(1, ticks)
        wrong = [finding for finding in findings if not finding.holds]
        if not wrong:
            break
        earlier += [f"{finding.promise} {finding.found:.3f} {finding.unit}" for finding in wrong]
    return Outcome(check.name, findings, stolen_share, tuple(earlier))


def run(*, quick: bool = False, tell: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
    """All outcomes; `tell` hears each as it comes."""
    outcomes: list[Outcome] = []
    for check in CHECKS:
        if check.quick or not quick:
            outcomes.append(carry_out(check))
            tell(outcomes[-1])
    return outcomes


def rows(outcome: Outcome) -> Iterable[tuple[str, ...]]:
    """A row for each finding: promise, found, allowed, the emulator's processor, late packets, stolen time, verdict."""
    stolen = f"{outcome.stolen_share:.1%}"
    for finding in outcome.findings:
        effort = finding.effort
        cpu, late = (f"{effort.cpu_share:.0%}", f"{effort.late_share:.1%}") if effort else ("", "")
        allowed = f"{finding.low:.4g} … {finding.high:.4g}"
        verdict = "holds" if finding.holds else "FAILS"
        if outcome.earlier:
            verdict += f" (attempts before: {len(outcome.earlier)})" if finding.holds else ""
        yield finding.promise, f"{finding.found:.3f} {finding.unit}", allowed, cpu, late, stolen, verdict
    if not outcome.findings:
        yield outcome.name, "nothing", "", "", "", stolen, f"FAILS: {outcome.earlier[-1]}"


def document(outcomes: list[Outcome]) -> dict[str, object]:
    """The whole as one JSON value."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, {platform.machine()}",
        "holds": all(outcome.holds for outcome in outcomes),
        "checks": [{**asdict(outcome), "holds": outcome.holds} for outcome in outcomes],
    }


def markdown(outcomes: list[Outcome]) -> str:
    """The table for people."""
    lines = [
        "# The link laboratory, checked",
        "",
        f"By `python -m bench.linklab check --write`. {document(outcomes)['machine']}.",
        "Processor: the emulator's share of one core, with the kernel's work of delivering the packets. Late: packets",
        "delivered over 2 ms after their time. Stolen: what the hypervisor gave to others meanwhile.",
        "",
        "| promise | found | allowed | processor | late | stolen | |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for outcome in outcomes for row in rows(outcome)]
    return "\n".join(lines) + "\n"


def write(outcomes: list[Outcome], folder: Path = RESULTS) -> None:
    """linklab.json and linklab.md."""
    folder.mkdir(exist_ok=True)
    text = json.dumps(document(outcomes), indent=1, ensure_ascii=False)
    (folder / "linklab.json").write_text(text + "\n", encoding="utf-8")
    (folder / "linklab.md").write_text(markdown(outcomes), encoding="utf-8")
