"""`python -m bench [loopback|accuracy]`: benchmarks, with their results written down in `bench/results/`."""

import sys

from bench import accuracy, loopback

KINDS = {"loopback": loopback.main, "accuracy": accuracy.main}

if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "loopback"
    if kind not in KINDS:
        sys.exit(f"found {kind!r}; allowed: {' or '.join(KINDS)}")
    sys.exit(KINDS[kind]())
