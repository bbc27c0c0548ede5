"""`python -m tests.security --cases 100000 [--seed N]`: says what became of them, or which one did harm."""

import argparse
import sys
import time

from tests.security.check import Harm, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begin = time.monotonic()
    try:
        codes, _ = run(arguments.cases, arguments.seed)
    except Harm as harm:
        print(harm, f"because: {harm.__cause__!r}", sep="\n", file=sys.stderr)
        return 1
    print(f"{arguments.cases} hostile payloads in {time.monotonic() - begin:.0f} s, no harm")
    print("\n".join(f"  {count:7} {code}" for code, count in codes.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
