"""Settings as an operator writes them, and the table of what many units answered."""

from typing import Any

import pytest
import typer

from xomnet_cli import bulk_ask
from xomnet_cli.rest_client import RestError
from xomnet_cli.settings_format import format_reply, parse_change, summarize


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
    (found,) = parse_change([text], [], None)["settings"].values()
    assert (found, type(found)) == (value, type(value))


def test_a_request_holds_only_what_is_asked_for() -> None:
    assert parse_change([], [], None) == {}
    assert parse_change([], ["servers"], 5) == {"unset": ["servers"], "prove_s": 300}


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["servers"], "found 'servers'; write KEY=VALUE, such as latency.every_s=60"),
        (["broker.host=x"], "broker.host: cannot be changed remotely; allowed: one of servers, anchors"),
        (
            ["latency.every=60"],
            "latency.every: cannot be changed remotely; allowed: latency.every_s (did you mean it?)",
        ),
        (["log_level=info", "log_level=debug"], "a key is set twice"),
    ],
)
def test_what_can_not_be_sent_is_said_with_what_is_allowed(texts: list[str], reason: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        parse_change(texts, [], None)
    assert str(refused.value).startswith(reason)


REPLY: dict[str, Any] = {"ok": True, "settings": {"latency.every_s": 60, "servers": ["a", "b"]}}


def test_what_is_in_force_is_shown_with_what_is_not_agent_yamls() -> None:
    assert format_reply("nd-a", REPLY) == [
        "nd-a: all as in agent.yaml",
        "  latency.every_s  60",
        "  servers          a,b",
    ]
    changed = {**REPLY, "changed": ["latency.every_s"], "trial_s": 540.2}
    assert summarize(changed) == "latency.every_s=60 (on trial, 540 s left)"
    shown = format_reply("nd-a", {**changed, "detail": "applied"})
    assert shown[:2] == ["nd-a: applied", "* latency.every_s  60"]
    ignored = format_reply("nd-a", {**REPLY, "ignored": "no line"})
    assert ignored[0] == "nd-a: the remote settings are NOT in force: no line"


def test_what_can_not_be_asked_is_an_outcome_and_can_be_asked_again() -> None:
    def ask(unit: str) -> dict[str, Any]:
        if unit == "nd-b":
            raise RestError("the collector is away")
        reply = {"ok": unit == "nd-a", "error": "invalid", "detail": "no such line"}
        return {"agent": unit, "outcome": "answered", "reply": reply}

    seen: list[dict[str, Any]] = []
    answers = bulk_ask.ask_all(["nd-a", "nd-b", "nd-c"], ask, seen.append)
    assert [bulk_ask.outcome(one) for one in answers] == ["done", "no answer", "refused"]
    assert len(seen) == 3
    assert bulk_ask.format_counts(answers) == "3 units: 1 done, 1 refused, 1 no answer"
    assert bulk_ask.repeat_command(answers, ["--set", "servers=http://a/,http://b c/"]) == (
        "xomnet ask nd-b settings --set 'servers=http://a/,http://b c/'"
    )
    assert bulk_ask.repeat_command([answers[0]], []) is None
    assert bulk_ask.format_row(answers[2], 6) == "nd-c    refused    invalid: no such line"
