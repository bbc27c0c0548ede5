"""The failpoints: each exists once in the code, each is died at in the storm, and none of them costs anything."""

import ast
import os
import subprocess
import sys
from collections import Counter

from tests.chaos.storm import ALL_POINTS
from tests.support.packages import PACKAGES, ROOT, files_of
from xomnet.runtime import failpoints

FILES = files_of(package for package in PACKAGES if package != "updater")
"""The updater, which is standard library alone, has failpoints of its own."""


def calls() -> Counter[str]:
    """How often each point is named in a call of `failpoints.at`."""
    found: Counter[str] = Counter()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.at":
                assert isinstance(node.args[0], ast.Constant), f"{file}: {ast.unparse(node)} names no point"
                found[str(node.args[0].value)] += 1
    return found


def imports() -> set[tuple[str, str]]:
    """Where the module is imported, or something of it, and how."""
    return {
        (str(file.relative_to(ROOT)), ast.unparse(node))
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and "failpoints" in ast.unparse(node)
    }


def test_a_point_is_called_by_the_modules_name_alone() -> None:
    """Or `calls` does not see it."""
    assert imports()
    assert {one for one in imports() if one[1] != "from xomnet.runtime import failpoints"} == set()


def test_each_point_is_one_place_in_the_code() -> None:
    assert calls() == dict.fromkeys(failpoints.POINTS, 1)


def test_the_storm_kills_at_each_of_them() -> None:
    assert frozenset(failpoints.POINTS) == ALL_POINTS


def test_a_place_is_nothing_where_nobody_asks_for_a_crash() -> None:
    assert failpoints.at is failpoints._do_nothing


def died(spec: str, passes: str) -> subprocess.CompletedProcess[str]:
    code = f"from xomnet.runtime import failpoints\nfor point in {passes}: failpoints.at(point); print(point)"
    environment = {**os.environ, "XOMNET_FAILPOINT": spec}
    return subprocess.run(
        [sys.executable, "-u", "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_process_dies_at_the_pass_that_was_asked_for() -> None:
    done = died("uplink.puback:2", '["uplink.puback", "uplink.acked", "uplink.puback", "uplink.acked"]')
    assert (done.returncode, done.stderr) == (-9, "crash at uplink.puback\n")
    assert done.stdout.split() == ["uplink.puback", "uplink.acked"]


def test_a_point_that_does_not_exist_is_an_error() -> None:
    done = died("uplink.pubak", "[]")
    assert done.returncode == 1
    assert "found 'uplink.pubak'; allowed: spool.inserted, " in done.stderr
