"""One class name, one module: a newcomer who searches for a name finds one thing. A log has its module's name."""

import ast
import re
from collections import defaultdict

from tests.support.packages import PACKAGES, ROOT, files_of

PRODUCT = (*PACKAGES, "grafana")
SHARED: dict[str, str] = {}
"""Names that two modules may have -> why. At most five."""


def modules_by_class() -> dict[str, list[str]]:
    found = defaultdict(list)
    for file in files_of(PRODUCT):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(str(file.relative_to(ROOT)))
    return found


def test_no_class_name_stands_in_two_modules() -> None:
    twice = {name: files for name, files in modules_by_class().items() if len(files) > 1}
    assert {name: files for name, files in twice.items() if name not in SHARED} == {}
    assert set(SHARED) <= set(twice), "an exception that is no longer needed"
    assert len(SHARED) <= 5


def test_a_log_has_the_name_of_its_module_or_of_a_package_around_it() -> None:
    named = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): name
        for package in PRODUCT
        for file in (ROOT / package).rglob("*.py")
        for name in re.findall(r"^\w+ = Log\((.*)\)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 30
    assert {module: name for module, name in named.items() if not f'"{module}.'.startswith(f"{name[:-1]}.")} == {}
