"""The fleet of the run, and the log in which `make deploy-test` writes down what it saw."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.base import base
from tests.deploy.fleet import STAND_INS, Fleet
from tests.deploy.run_log import RunLog
from tests.deploy.site import Site
from tests.support.services import cannot


@pytest.fixture(scope="module")
def run_log() -> Iterator[RunLog]:
    """Written to the file that XOMNET_RUN_LOG names, if it names one."""
    run_log = RunLog()
    yield run_log
    if file := os.environ.get("XOMNET_RUN_LOG"):
        Path(file).write_text(run_log.text(), encoding="utf-8")


@pytest.fixture(scope="module")
def fleet(root: None, run_log: RunLog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The networks, and a server that is bare and has booted."""
    with run_log.step("A base from which machines are made") as saw:
        made = base(more=STAND_INS)
        saw(made.name)
    with Site(made) as site:
        fleet = Fleet(site, tmp_path_factory.mktemp("operator"))
        with run_log.step("A bare server boots") as saw:
            try:
                fleet.server.start()
            except TimeoutError as error:
                cannot(f"this computer boots no machines: {error}")
            saw("it lets somebody in")
        yield fleet
