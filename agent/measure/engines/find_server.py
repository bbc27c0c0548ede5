"""Run as a process: prints speedtest-cli's best server as JSON."""

import json
import sys

import speedtest

from agent.measure.engines.child_process import uses_https

NO_ANSWER_MS = 1_800_000
"""The latency that speedtest-cli reports for three echoes without an answer."""


def main() -> int:
    try:
        finder = speedtest.Speedtest(timeout=10, secure=uses_https())
        finder.get_servers()
        best = finder.get_best_server()
    except speedtest.SpeedtestException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    if best["latency"] >= NO_ANSWER_MS:
        print("no server answers, the nearest is", best["url"], file=sys.stderr)
        return 1
    print(json.dumps({"url": best["url"]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
