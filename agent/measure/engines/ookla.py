"""Speedtest's servers, our receiver: speedtest-cli finds the nearest server, the transfer and the figure are ours."""

import dataclasses

import msgspec

from agent.errors import MeasurementError
from agent.measure.engines import TestSpec
from agent.measure.engines.child_process import count_failed_bytes, run_python
from agent.measure.engines.http import download
from agent.measure.engines.speedtest_cli import SERVER
from xomnet.contract.messages import Speed

FIND_TIMEOUT_S = 45.0
IMAGE = "random4000x4000.jpg?x="


def measure(test: TestSpec) -> Speed:
    """One download from Speedtest's best server. Raises MeasurementError."""
    return download(dataclasses.replace(test, server=best_server(test), permission=None), "ookla", IMAGE)


def best_server(test: TestSpec) -> str:
    """The folder of the best server, such as `http://speedtest.example.vn:8080/speedtest`. Raises MeasurementError."""
    with count_failed_bytes(test.interface):
        return parse_server(run_python("agent.measure.engines.find_server", [], test, FIND_TIMEOUT_S)[0])


def parse_server(text: bytes) -> str:
    """The folder of the `url` in the finder's JSON. Raises MeasurementError."""
    try:
        url: str = msgspec.json.decode(text, type=dict[str, str])["url"]
    except (msgspec.DecodeError, KeyError) as error:
        raise MeasurementError("engine_output", "the finder's report is not what it should be") from error
    if not SERVER.fullmatch(url):
        raise MeasurementError("engine_output", "the address of the server that was found is none")
    folder = url.rpartition("/")[0]
    return "http://" + folder.partition("://")[2]
