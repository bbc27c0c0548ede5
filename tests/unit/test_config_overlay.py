"""Remote settings over agent.yaml: what may be changed, what becomes of it, how an error reads."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.control.config_overlay import apply_change, effective_values, merge, read_with_overlay
from agent.settings import AgentSettings
from xomnet.contract.remote_settings import CHANGEABLE, LISTS, Setting, template_of
from xomnet.settings import SettingsError, convert

DOCUMENT: dict[str, Any] = {
    "agent": "nd-a",
    "state_dir": "state",
    "broker": {"host": "broker.example"},
    "servers": ["http://one/"],
    "latency": {"echoes": 3},
    "lines": [
        {"line": "ftth", "access": "fixed", "every_s": 60},
        {"line": "4g", "access": "mobile", "budget_gb": 3, "servers": ["http://two/"]},
    ],
}
KEYS = [
    key.replace("LINE", line) for key in CHANGEABLE for line in (["ftth", "4g"] if "LINE" in key else [""])
]  # fmt: skip
GOOD: dict[str, st.SearchStrategy[Setting]] = {
    "servers": st.just(("http://three/", "http://four/")),
    "anchors": st.lists(st.sampled_from(["1.1.1.1", "a.example:53"]), max_size=4).map(tuple),
    "every_s": st.floats(1, 1e6),
    "log_level": st.sampled_from(["debug", "error"]),
    "metered": st.booleans(),
    "budget_gb": st.integers(1, 100),
}
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()).map(tuple)


def overlays(any_value: bool = False) -> st.SearchStrategy[dict[str, Setting]]:
    """Some of the keys, each with a value that it may have, or with any."""
    values = {key: ANYTHING if any_value else st.none() | GOOD[key.rpartition(".")[2]] for key in KEYS}
    return st.sets(st.sampled_from(KEYS)).flatmap(
        lambda keys: st.fixed_dictionaries({key: values[key] for key in keys})
    )


def typed(document: Any) -> AgentSettings:
    return convert(document, AgentSettings, "test", Path("/"))


@settings(max_examples=60)
@given(overlays(), overlays())
def test_a_change_after_another_is_one_change_and_the_document_stays_as_it_was(
    one: dict[str, Setting], other: dict[str, Setting]
) -> None:
    before = copy.deepcopy(DOCUMENT)
    both = merge(DOCUMENT, apply_change(one, other, ()))
    assert typed(both) == typed(merge(merge(DOCUMENT, one), other))
    assert before == DOCUMENT
    assert typed(merge(DOCUMENT, apply_change(one, {}, tuple(one)))) == typed(DOCUMENT)
    backwards = dict(reversed(list(one.items())))
    assert merge(DOCUMENT, backwards) == merge(DOCUMENT, one)


@settings(max_examples=60)
@given(overlays())
def test_what_is_set_is_in_force_and_nothing_else_has_changed(overlay: dict[str, Setting]) -> None:
    plain, found = effective_values(typed(DOCUMENT)), effective_values(typed(merge(DOCUMENT, overlay)))
    follow = {f"lines.{line}.budget_gb" for line in ("ftth", "4g") if f"lines.{line}.metered" in overlay}
    for key in KEYS:
        if overlay.get(key) is not None:
            assert found[key] == overlay[key]
        elif key not in overlay and key not in follow:  # a metered line has a budget by default
            assert found.get(key) == plain.get(key)
    assert typed(merge(DOCUMENT, overlay)).broker == typed(DOCUMENT).broker


@settings(max_examples=60)
@given(overlay=overlays(any_value=True))
def test_any_value_loads_or_is_refused_by_key(
    tmp_path_factory: pytest.TempPathFactory, overlay: dict[str, Setting]
) -> None:
    config = tmp_path_factory.getbasetemp() / "agent.yaml"
    config.write_text(yaml.safe_dump(DOCUMENT))
    try:
        found = read_with_overlay(config, overlay)
    except SettingsError as error:
        refused = error
    else:
        assert found.agent == "nd-a"
        return
    assert refused.file == "remote settings"
    assert any(refused.key.startswith(key) for key in overlay)


@pytest.mark.parametrize(
    "key",
    [
        *("agent", "state_dir", "broker", "broker.host", "broker.tls.key", "clock.assume_synced", "spool.max_mb"),
        *("lines", "lines.ftth", "lines.ftth.interface", "lines.ftth.engine", "lines.ftth.line", "lines..every_s"),
        *("timezone", "status_page.host", "lines.ftth.servers.0", "lines.LINE.every_s.x", "__class__", ""),
    ],
)
def test_what_leads_a_unit_elsewhere_stays_where_it_is(key: str) -> None:
    assert template_of(key) is None
    with pytest.raises(SettingsError, match="cannot be changed remotely"):
        merge(DOCUMENT, {key: "elsewhere"})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lines.ftth.budget_gb", -1, "lines.ftth.budget_gb: found -1; allowed: a number, more than 0"),
        ("lines.4g.servers", ("x",), "lines.4g.servers[0]: found 'x'; allowed: a text of the form ^http://"),
        ("lines.4g.servers", ("http://[/",), "lines.4g.servers[0]: found 'http://[/'; allowed: http://HOST[:PORT]"),
        ("lines.dsl.every_s", 5, "lines.dsl.every_s: found no line dsl; allowed: ftth, 4g"),
        ("latency.every_s", "soon", "latency.every_s: found 'soon'; allowed: a number"),
        ("log_level", "loud", "log_level: found 'loud'; allowed: debug or"),
        ("servers", "http://one/", "servers: found 'http://one/'; allowed: a list"),
        ("latency.every", 5, "allowed: latency.every_s (did you mean it?)"),
    ],
)
def test_an_error_names_the_key_what_was_found_and_what_is_allowed(
    tmp_path: Path, key: str, value: Setting, said: str
) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(yaml.safe_dump(DOCUMENT))
    with pytest.raises(SettingsError) as caught:
        read_with_overlay(config, {key: value})
    assert said in str(caught.value)
    assert caught.value.file == "remote settings"


def test_groups_that_agent_yaml_writes_once_are_changed_apart(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    text = "agent: nd-a\nstate_dir: state\nbroker: {}\nlines: [{line: ftth, access: fixed}]\n"
    config.write_text(text + "latency: &pace {every_s: 120}\nhealth: *pace\n")
    found = read_with_overlay(config, {"latency.every_s": 60})
    assert (found.latency.every_s, found.health.every_s) == (60, 120)


def test_every_key_of_the_list_exists_and_its_lists_are_lists() -> None:
    values: dict[str, Setting] = {"servers": ("http://x/",), "anchors": ("x",), "log_level": "error", "metered": True}
    everything = {key: values.get(key.rpartition(".")[2], 7) for key in KEYS}
    found = effective_values(typed(merge(DOCUMENT, everything)))
    assert found == everything
    assert {template_of(key) for key, value in found.items() if isinstance(value, tuple)} == LISTS
