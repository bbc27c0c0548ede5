"""An InfluxDB as users have it, in place of Debian's 1.6.7, where there is one: nobody downloads it for a test.

XOMNET_TEST_INFLUXD=/usr/bin/influxd pytest tests/integration tests/grafana     # 1.8 or 2
"""

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Self

from tests.support.services import InfluxV2

PATH = os.environ.get("XOMNET_TEST_INFLUXD")


class Influx2(InfluxV2):
    """InfluxDB 2, behind nginx as `InfluxV2` is, with what a bucket has by itself: a virtual DBRP mapping."""

    org = "-"  # what a store has that is told none
    _org_id = ""

    @staticmethod
    def _arguments(folder: Path, port: int) -> list[str]:
        files = {"bolt": "influxd.bolt", "sqlite": "influxd.sqlite", "engine": "engine"}
        where = [f"--{name}-path={folder / file}" for name, file in files.items()]
        return [f"--http-bind-address=127.0.0.1:{port}", "--reporting-disabled", "--log-level=error", *where]

    def start(self) -> Self:
        super().start()
        if not self._org_id:
            first = {"username": "admin", "password": "not-a-secret", "org": self.org, "bucket": "first"}
            made = self._request("/api/v2/setup", {}, json.dumps({**first, "token": self.token}))
            self._org_id = json.loads(made)["org"]["id"]
        return self

    def create(self, database: str, duration: str = "INF") -> None:
        """`duration` in hours."""
        rules = [] if duration == "INF" else [{"type": "expire", "everySeconds": 3600 * int(duration.rstrip("h"))}]
        bucket = {"orgID": self._org_id, "name": database, "retentionRules": rules}
        self._request("/api/v2/buckets", {}, json.dumps(bucket))

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
                return bool(json.load(answer)["status"] == "pass")
        except OSError:
            return False


def influx_v2(folder: Path, path: str | None = PATH) -> InfluxV2:
    """InfluxDB with `/api/v2/write` in a folder of its own."""
    if path is None:
        return InfluxV2(folder)
    version = subprocess.run([path, "version"], capture_output=True, text=True, timeout=30, check=True).stdout
    return Influx2(folder, path) if version.startswith("InfluxDB v2") else InfluxV2(folder, path)
