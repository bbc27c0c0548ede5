"""docs/security.md names the test that shows each claim: it is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
NAMED = re.findall(
    r"`((?:unit|integration|chaos|deploy|grafana|security)/\w+\.py)::(\*|\w+)`",
    (TESTS.parent / "docs/security.md").read_text(encoding="utf-8"),
)


def test_every_test_that_is_named_exists() -> None:
    assert len(NAMED) > 30
    missing = [
        f"{file}::{name}"
        for file, name in NAMED
        if not (TESTS / file).is_file()
        or (name != "*" and f"def {name}(" not in (TESTS / file).read_text(encoding="utf-8"))
    ]
    assert not missing
