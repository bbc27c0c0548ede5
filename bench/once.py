"""One test by our engine as a process: `python -m bench.once URL` prints its result as JSON. Without URL it starts and
ends, which tells what the start costs.
"""

import sys

import msgspec

from agent.engines import Test, engine

if __name__ == "__main__":
    measure = engine("http")
    for url in sys.argv[1:]:
        sys.stdout.buffer.write(msgspec.json.encode(measure(Test(server=url))))
