"""Unmodified speedtest-cli measures against our server and reads its pace."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from measurement_server import MeasurementServer, ServerLimits

RATE_MBPS = 50
TEST_S = 3

SPEEDTEST_CLI = Path(sys.executable).with_name("speedtest-cli")


def test_speedtest_cli_reads_the_pace_as_a_proxy_client_and_with_mini() -> None:
    """Both at once, from two addresses of this machine: two clients, a pace each."""
    server = MeasurementServer("127.0.0.1", 0, RATE_MBPS, limits=ServerLimits(speedtest_s=TEST_S))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        clients = [
            _start(server.url, "--source", "127.0.0.2"),
            _start(server.url, "--source", "127.0.0.3", "--mini", server.url + "/"),
        ]
        results = [_result(client) for client in clients]
    finally:
        server.close()
        thread.join()
    assert [result["server"]["sponsor"] for result in results] == ["xomnet", "Speedtest Mini"]
    assert [result["client"]["ip"] for result in results] == ["127.0.0.2", "127.0.0.3"]
    for result in results:
        assert 0.8 * RATE_MBPS < result["download"] / 1e6 < 1.02 * RATE_MBPS
        assert result["bytes_received"] > 0.8 * RATE_MBPS / 8 * 1e6 * TEST_S
        assert 0 < result["ping"] < 1000
        assert result["server"]["url"] == server.url + "/speedtest/upload.php"


def test_speedtest_cli_uploads_too() -> None:
    server = MeasurementServer("127.0.0.1", 0, limits=ServerLimits(speedtest_s=1))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        result = _result(_start(server.url, "--mini", server.url, upload=True))
    finally:
        server.close()
        thread.join()
    assert result["upload"] > 1e6
    assert result["bytes_sent"] > 500_000


def _start(proxy: str, *options: str, upload: bool = False) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")} | {"http_proxy": proxy}
    direction = "--no-download" if upload else "--no-upload"
    command = [str(SPEEDTEST_CLI), "--json", direction, *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _result(client: subprocess.Popen[str]) -> Any:
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    return json.loads(out)
