"""The time is an argument: who may read the wall clock, and that the tests that come to read it run at other times."""

import ast

import pytest

from tests.support.clock_readers import CLOCKS, Name, imported, is_marked, modules, read_at, readers
from tests.support.packages import PACKAGES

PRODUCT = modules(*PACKAGES, "grafana")
TESTS = modules("tests")

EDGES_BY_REASON = {
    "the clocks themselves": ("agent.clock.clock", "xomnet.runtime.clock"),
    "a process hands the time, or its clock, to what it wires": (
        "agent.check.__main__",
        "agent.check.service",
        "agent.run",
        "collector.archive.__main__",
        "collector.archive.replay_command",
        "collector.archive.resend_command",
        "collector.archive.results_command",
        "collector.check.__main__",
        "collector.ingest.resend",
        "collector.ingest.results_command",
        "collector.run",
        "collector.store.factory",
        "measurement_server.__main__",
        "updater.__main__",
        "xomnet_cli.alerts",
        "xomnet_cli.completion",
        "xomnet_cli.measure",
        "xomnet_cli.month",
        "xomnet_cli.pki",
        "xomnet_cli.release",
        "xomnet_cli.report",
        "xomnet_demo.run",
    ),
    "a thread hands the time to each turn": ("collector.alerts.dispatcher", "collector.periodic"),
    "a request has the time at which it came": (
        "agent.status.client",
        "agent.web.handler",
        "collector.pki.enrolment",
        "collector.web.app",
    ),
    "a note says when it was made": ("updater.notes",),
    "was the clock set during a test? It is compared with itself": ("agent.measure.conditions",),
}
"""Modules that read the clock. All others are given the time."""
EDGES = {module for modules in EDGES_BY_REASON.values() for module in modules}

FACADES: set[Name] = {("collector.web", "create_app"), ("xomnet_cli", "app")}
"""What leads from outside to an edge."""

NOT_SHIFTED_BY_REASON = {
    "a browser shows the pages of test_web.py": (
        "browser.test_measure_now",
        "browser.test_operator",
        "browser.test_page",
    ),
    "machines, or their tools, with clocks of their own": (
        "deploy.test_backup",
        "deploy.test_machines",
        "deploy.test_plays",
    ),
    "processes that are killed: what they kept is told by its number": (
        "chaos.test_bugs",
        "chaos.test_checker",
        "chaos.test_failpoints",
        "chaos.test_scenarios",
        "chaos.test_smoke",
        "integration.test_archive",
        "integration.test_store_sqlite",
        "unit.test_spool",
    ),
    "processes that take long, and for which any time will do": (
        "deploy.test_upgrade_tool",
        "integration.test_agent_process",
        "integration.test_archived",
        "integration.test_backlog",
        "integration.test_broker_access",
        "integration.test_check_command",
        "integration.test_collector_check",
        "integration.test_collector_process",
        "integration.test_commands",
        "integration.test_demo",
        "integration.test_enrol",
        "integration.test_intake",
        "integration.test_loopback_probe",
        "integration.test_permission",
        "integration.test_pipeline",
        "integration.test_remote_settings",
        "integration.test_replay",
        "integration.test_resend",
        "integration.test_results_command",
        "integration.test_services",
        "security.test_archive",
        "security.test_broker",
        "security.test_connection_rate",
        "security.test_connections",
        "security.test_forged_past",
        "security.test_identity",
        "security.test_tokens",
        "security.test_quota",
        "unit.test_archive_log",
        "unit.test_audit",
        "unit.test_status",
    ),
    "a line is measured, which has no date": (
        "integration.test_accuracy",
        "integration.test_flags",
        "integration.test_http_engine",
        "integration.test_linklab",
        "integration.test_measurement_server_process",
        "integration.test_measurement_server_speedtest_cli",
        "integration.test_metering",
        "integration.test_two_paths",
        "security.test_strangers",
        "unit.test_cli",
        "unit.test_engines",
    ),
    "what the processor does is measured: not beside others": (
        "unit.test_bench_tools",
        "unit.test_conditions",
        "unit.test_interface",
    ),
    "the time is an argument, and the page of it is test_web.py's": ("integration.test_completeness",),
    "answers have the form that the table of routes declares, whatever the time": ("integration.test_routes",),
    "a command ends before anybody answers it": ("unit.test_ask",),
    "words are completed; the months among them by a date of the test": ("unit.test_completion",),
    "the test sets the command's clock": ("integration.test_closed_months", "integration.test_report_command"),
    "the database goes by a clock that is not shifted": ("integration.test_store_influx",),
    "the clock is compared with itself": ("unit.test_clock",),
    "turns are counted, whatever the time": ("unit.test_periodic",),
    "very many results are counted, whatever the time": ("security.test_flooded_line",),
    "modules are imported by a process of its own": ("unit.test_layout",),
    "the clock is moved by the test": ("unit.test_shifted",),
}
"""Modules of tests that come to read the clock, and that `make shifted` leaves out, or a test of theirs."""
NOT_SHIFTED = {f"tests.{module}" for modules in NOT_SHIFTED_BY_REASON.values() for module in modules}


def test_the_clock_is_read_at_the_edges_alone() -> None:
    found = {
        f"{module}: line {line}" for module, tree in PRODUCT.items() if module not in EDGES for line in read_at(tree)
    }
    found |= {
        f"{module}: imports {name}"
        for module, tree in PRODUCT.items()
        if module not in EDGES
        for source, name in imported(tree, module).values()
        if (source, name) in CLOCKS
    }
    assert not found, "take the time as an argument: a value `now`, or a UtcClock or ReadClock"


def test_an_edge_that_reads_the_clock_no_longer_is_not_listed() -> None:
    assert {one for one in EDGES if one not in PRODUCT or not _reads(one)} == set()


def _reads(module: str) -> bool:
    tree = PRODUCT[module]
    return bool(read_at(tree) or CLOCKS & set(imported(tree, module).values()))


@pytest.fixture(scope="module")
def reading() -> dict[str, list[str]]:
    """Modules of tests, and their tests that come to read the clock."""
    edges = readers(
        {module: PRODUCT[module] for module in EDGES & PRODUCT.keys()}
    )  # what stands beside it in an edge reads nothing
    found: dict[str, list[str]] = {}
    for module, name in readers(TESTS, edges | FACADES):
        if module in TESTS and module.rpartition(".")[2].startswith("test_") and name.startswith("test_"):
            found.setdefault(module, []).append(name)
    return found


def test_a_test_that_reads_the_clock_runs_at_other_times_too(reading: dict[str, list[str]]) -> None:
    found = {f"{module}: {name}" for module, name in _not_marked(reading) if module not in NOT_SHIFTED}
    assert not found, (
        "set the time in the test, or mark it `date`, or say in NOT_SHIFTED_BY_REASON why any time will do"
    )


def test_a_module_without_such_a_test_is_not_listed(reading: dict[str, list[str]]) -> None:
    assert set(NOT_SHIFTED) == {module for module, _ in _not_marked(reading)} & set(NOT_SHIFTED)


def _not_marked(reading: dict[str, list[str]]) -> list[Name]:
    return [
        (module, name)
        for module, names in reading.items()
        for name in names
        if not is_marked(TESTS[module], name, "date")
    ]


@pytest.mark.parametrize(
    "source",
    [
        *("from time import time\ntime()", "from time import time_ns as n\nn()", "import time as t\nt.time()"),
        *("from datetime import datetime as D\nD.now()", "import datetime as d\nd.datetime.now()"),
        *("from datetime import date as D\nD.today()", "import datetime\ndatetime.datetime.now()"),
        *("from time import gmtime as g\ng()", "from time import CLOCK_REALTIME as C\nprint(C)"),
        *("import time as t\nnow = t.time", "from time import time\nf(clock=time)"),
    ],
)
def test_the_clock_is_seen_by_whatever_name_it_is_imported(source: str) -> None:
    assert read_at(ast.parse(source)) == [2]
    in_a_test = "{}\ndef test_a(): {}".format(*source.splitlines())
    assert _read_in(in_a_test)


@pytest.mark.parametrize(
    "source",
    [
        *(
            "from mine import time\ntime()",
            "import mine as time\ntime.time()",
            "from time import monotonic as time\ntime()",
        ),
        *("from time import gmtime as g\ng(0)", "from datetime import datetime as D\nD.fromisoformat('')", "time()"),
    ],
)
def test_another_thing_of_that_name_is_not_the_clock(source: str) -> None:
    assert read_at(ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import datetime\ndef test_a(): datetime.now()",
        "import datetime as dt\ndef test_a(): dt.date.today()",
        "import time\ndef test_a(): time.time()",
        "import time\ndef test_a(): time.gmtime()",
        "from time import time\ndef test_a(): time()",
        "import datetime as dt\nNOW = dt.datetime.now(dt.UTC)\ndef test_a(): print(NOW)",
        "from agent.clock.clock import read_clock\ndef test_a(): read_clock()",
        "from collector.periodic import PeriodicWorker\nclass Mine(PeriodicWorker): ...\ndef test_a(): Mine()",
        "from tests.other import made\ndef test_a(): made()",
        "from tests import other\ndef test_a(): other.made()",
        "def test_a(of_conftest): ...",
        "import pytest\n@pytest.mark.usefixtures('of_conftest')\ndef test_a(): ...",
        "import pytest, time\n@pytest.fixture(autouse=True)\ndef always(): time.time()\ndef test_a(): ...",
        "import sys, subprocess\ndef test_a(): subprocess.run([sys.executable])",
        "import subprocess\nfrom sys import executable as python\ndef test_a(): subprocess.run([python])",
    ],
)
def test_each_way_to_the_clock_is_seen(source: str) -> None:
    assert _read_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "import datetime as dt\nNOW = dt.datetime(2026, 1, 1)\ndef test_a(): print(NOW)",
        "import time\ndef test_a(): time.monotonic(); time.gmtime(0); time.strftime('%Y', time.gmtime(0))",
        "import time\ndef test_b(): time.time()\ndef test_a(): ...",
        "from tests.other import quiet\ndef test_a(): quiet()",
    ],
)
def test_what_does_not_read_the_clock_is_not_taken_for_it(source: str) -> None:
    assert not _read_in(source)


def _read_in(source: str) -> bool:
    trees = {
        "tests.x.test_it": ast.parse(source),
        "tests.x.conftest": ast.parse("import time\ndef of_conftest(): time.time()"),
        "tests.other": ast.parse("import time\ndef made(): time.time()\ndef quiet(): ..."),
    }
    known = CLOCKS | {("collector.periodic", "PeriodicWorker")}
    return ("tests.x.test_it", "test_a") in readers(trees, known)


def test_a_mark_is_seen_where_it_may_stand() -> None:
    own = "import pytest\n@pytest.mark.date\ndef test_a(): ...\ndef test_b(): ..."
    whole = "import pytest\npytestmark = [pytest.mark.alone, pytest.mark.date]\ndef test_a(): ..."
    assert [is_marked(ast.parse(own), name, "date") for name in ("test_a", "test_b")] == [True, False]
    assert is_marked(ast.parse(whole), "test_a", "date")
    assert is_marked(ast.parse("from pytest import mark as m\n@m.date\ndef test_a(): ..."), "test_a", "date")
    assert not is_marked(ast.parse(whole), "test_a", "deploy")
