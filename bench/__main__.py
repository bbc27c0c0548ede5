"""`python -m bench [KIND …]`: benchmarks, with their results written down in `bench/results/`.

`loopback`, `busy`, `exclusions` and `verdicts` need nothing, `intake` and `archive` a broker and a database, `assess`,
`dashboards`, `replay` and `rollups` a database; the others need root, for the laboratory. Without a kind: all of them,
the long one (`grid`, over three hours, but it goes on where it was) last.
"""

import sys

from bench import (
    accuracy,
    archive,
    assess,
    busy_line,
    dashboards,
    exclusions,
    grid,
    intake,
    loopback,
    replay,
    rollups,
    sides,
    variations,
    verdicts,
)

KINDS = {
    "loopback": loopback.main,
    "verdicts": verdicts.main,
    "intake": intake.main,
    "archive": archive.main,
    "assess": assess.main,
    "busy": busy_line.main,
    "exclusions": exclusions.main,
    "rollups": rollups.main,
    "replay": replay.main,
    "dashboards": dashboards.main,
    "sides": sides.main,
    "variations": variations.main,
    "accuracy": accuracy.main,
    "grid": grid.main,
}

OPTIONS = ("--restart", "--lines", "--days")
"""Of `grid`; of `replay`, with `=` and a number."""

if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("--")]
    wanted = [word for word in sys.argv[1:] if word not in options] or [*KINDS]
    if unknown := [word for word in wanted if word not in KINDS] + [
        word for word in options if word.partition("=")[0] not in OPTIONS
    ]:
        sys.exit(f"found {unknown[0]!r}; allowed: {', '.join((*KINDS, *OPTIONS))}")
    sys.exit(max(KINDS[kind](*options) for kind in wanted))
