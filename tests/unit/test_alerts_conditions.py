"""The table of conditions: a condition is one file, and no other file of ours knows its name."""

import ast
import dataclasses
import datetime as dt
import sys
from pathlib import Path

import pytest

from collector.alerts import conditions, digest, rules, texts
from collector.alerts.alert import AlertRules, AlertState
from collector.alerts.conditions import BY_STATE, CONDITIONS, Condition
from collector.judge.assess import Judgement
from collector.judge.line_states import LineStatus
from collector.texts.texts import Texts
from collector.web import line_actions
from xomnet.registry.registry import LineRow
from xomnet.states import worst_first
from xomnet_demo import table

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
FOLDER = Path(str(conditions.__file__)).parent
FILES = [file for file in FOLDER.glob("*.py") if file.stem not in ("__init__", "condition")]
READERS = [*sorted({*FOLDER.parent.rglob("*.py")} - {*FILES}), Path(line_actions.__file__), Path(table.__file__)]


def test_every_file_is_a_condition_and_each_has_a_state_of_its_own() -> None:
    assert len(FILES) == len(CONDITIONS) == len(BY_STATE)
    assert [one.state for one in CONDITIONS] == sorted(BY_STATE, key=worst_first)


def test_the_names_that_are_stored_are_those_of_version_0_1() -> None:
    assert {"short", "silent"} <= BY_STATE.keys()


@pytest.mark.parametrize("file", READERS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_other_file_names_a_condition(file: Path) -> None:
    words = {node.value for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Constant)}
    assert not words & BY_STATE.keys()


def test_a_new_file_is_a_new_condition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra.py").write_text(
        "import dataclasses\n"
        "from collector.alerts.conditions.silent import CONDITION as SILENT\n"
        "CONDITION = dataclasses.replace(SILENT, state='uncertain')\n"
    )
    monkeypatch.setattr(conditions, "__path__", [*conditions.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "collector.alerts.conditions.extra", raising=False)
    assert {one.state for one in conditions._every_condition()} == {*BY_STATE, "uncertain"}


def test_a_file_without_its_object_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forgotten.py").write_text("")
    monkeypatch.setattr(conditions, "__path__", [str(tmp_path)])
    with pytest.raises(AttributeError, match="CONDITION"):
        list(conditions._every_condition())


@pytest.fixture
def third(monkeypatch: pytest.MonkeyPatch) -> Condition:
    """A condition that the product does not have: a line is uncertain."""
    silent = BY_STATE["silent"]
    made = dataclasses.replace(
        silent,
        state="uncertain",
        opens=lambda status, rules, now: NOW if status.judgement.state == "uncertain" else None,
        is_over=lambda status: status.judgement.state == "meeting",
        by_unit=False,
        texts=dataclasses.replace(silent.texts, end_word="CERTAIN AGAIN", count="{n} uncertain"),
    )
    for module in (rules, texts, digest):
        for name, value in (("CONDITIONS", (*CONDITIONS, made)), ("BY_STATE", {**BY_STATE, made.state: made})):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    return made


def test_another_condition_opens_and_ends_by_its_object_alone(third: Condition) -> None:
    row = LineRow("nd-1", "4g", "mobile", "Xóm 2", "Ninh Bình/xã Hải Anh", "Viettel", dt.date(2026, 1, 1))
    state, titles = AlertState(), []
    for minute in range(40):
        now = NOW + minute * dt.timedelta(minutes=1)
        judged = Judgement(third.state if minute < 10 else "meeting", 9, 70.0, 71.0, last_result_at=now)
        status = LineStatus(row, judged)
        changes, state = rules.evaluate([status], state, (), AlertRules(), now)
        titles += [texts.message_of(one, {status.id: status}, 86_400, Texts("en"), None).title for one in changes]
    subject = "Xóm 2, xã Hải Anh (Ninh Bình) · 4G Viettel"
    assert titles == [f"◐ UNCERTAIN · {subject}", f"● CERTAIN AGAIN · {subject}"]
