"""One test by our engine as a process: `python -m bench.once URL` prints its result as JSON."""

import sys

import msgspec

from agent.engines import Test, engine

if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(engine("http")(Test(server=sys.argv[1]))))
