"""Writes down what the attacks did, in the file that XOMNET_ATTACK_LOG names (`make attack`)."""

import datetime as dt
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.security.figures import take

HEAD = """\
# The last run of `make attack`

Attacks on real parts under the deployment's own configuration, on loopback. Written by the run itself, {when}. A test
gives its figures by `record_property` or `note`.

| test | measured | s | |
|---|---|---|---|
"""
ROWS = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.user_properties += take()
    if call.when == "call" or report.failed:
        item.session.stash.setdefault(ROWS, []).append(row(item, report))
    return report


def row(item: pytest.Item, report: pytest.TestReport) -> str:
    measured = "; ".join(f"{what}: {figure}" for what, figure in item.user_properties)
    held = "held" if report.passed else f"**{report.outcome}**"
    cells = (f"{item.path.name}::{item.name}", measured, f"{report.duration:.1f}", held)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def pytest_sessionfinish(session: pytest.Session) -> None:
    if file := os.environ.get("XOMNET_ATTACK_LOG"):
        rows: list[str] = session.stash.get(ROWS, [])
        text = HEAD.format(when=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}") + "".join(rows)
        Path(file).write_text(text, encoding="utf-8")
