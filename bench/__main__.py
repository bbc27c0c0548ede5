"""`make bench`: the benchmarks that need no laboratory, with their results written down in `bench/results/`."""

import sys

from bench import loopback

if __name__ == "__main__":
    sys.exit(loopback.main())
