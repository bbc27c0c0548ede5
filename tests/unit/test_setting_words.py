"""Settings as an operator writes them, and the table of what became of it at many units."""

from typing import Any

import pytest
import typer

from xomnet_cli import ask_many
from xomnet_cli.rest import RestError
from xomnet_cli.setting_words import change, counted, said


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("latency.every_s=60", 60),
        ("lines.4g.budget_gb=2.5", 2.5),
        ("lines.4g.metered=false", False),
        ("lines.4g.every_s=null", None),
        ("log_level=debug", "debug"),
        ("latency.every_s=Infinity", "Infinity"),
        ("servers=http://a/, http://b/?x=1", ["http://a/", "http://b/?x=1"]),
        ("anchors=1.1.1.1", ["1.1.1.1"]),
        ("anchors=", []),
        ('anchors=["1.1.1.1"]', ["1.1.1.1"]),
        ("lines.ftth.servers=null", None),
    ],
)
def test_a_value_has_the_type_that_it_has_in_agent_yaml(text: str, value: Any) -> None:
    (found,) = change([text], [], None)["settings"].values()
    assert (found, type(found)) == (value, type(value))


def test_a_request_holds_only_what_is_asked_for() -> None:
    assert change([], [], 5) == {}
    assert change([], ["servers"], 5) == {"unset": ["servers"], "prove_s": 300}
    for wrong in (["servers"], ["broker.host=x"], ["log_level=info", "log_level=debug"]):
        with pytest.raises(typer.BadParameter):
            change(wrong, [], None)


REPLY: dict[str, Any] = {"ok": True, "settings": {"latency.every_s": 60, "servers": ["a", "b"]}}


def test_what_is_in_force_is_shown_with_what_is_not_agent_yamls() -> None:
    assert said("nd-a", REPLY) == ["nd-a: all as in agent.yaml", "  latency.every_s  60", "  servers          a,b"]
    changed = {**REPLY, "changed": ["latency.every_s"], "trial_s": 540.2}
    assert counted(changed) == "latency.every_s=60 (on trial, 540 s left)"
    assert said("nd-a", {**changed, "detail": "in force"})[:2] == ["nd-a: in force", "* latency.every_s  60"]
    assert "NOT in force: no line" in said("nd-a", {**REPLY, "ignored": "no line"})[0]


def test_what_can_not_be_asked_is_an_outcome_and_can_be_asked_again() -> None:
    def ask(agent: str) -> dict[str, Any]:
        if agent == "nd-b":
            raise RestError("the collector is away")
        reply = {"ok": agent == "nd-a", "error": "invalid", "detail": "no such line"}
        return {"agent": agent, "outcome": "answered", "reply": reply}

    heard: list[dict[str, Any]] = []
    found = ask_many.ask_each(["nd-a", "nd-b", "nd-c"], ask, heard.append)
    assert [ask_many.outcome(one) for one in found] == ["done", "no answer", "refused"]
    assert len(heard) == 3
    assert ask_many.summed(found) == "3 units: 1 done, 1 refused, 1 no answer"
    assert ask_many.again(found, ["--set", "servers=http://a/,http://b c/"]) == (
        "xomnet ask nd-b settings --set 'servers=http://a/,http://b c/'"
    )
    assert ask_many.again([found[0]], []) is None
    assert ask_many.row(found[2], 6) == "nd-c    refused    invalid: no such line"
