"""How far remote settings may go: never into the unit's own network, never to a larger bill, never without a pause."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.control.config_overlay import read_with_overlay
from agent.errors import MeasurementError as Failed
from agent.measure.engines import TestSpec as Wanted
from agent.measure.engines import http
from agent.measure.latency import Anchor, probe
from agent.net.dns import check_reach, resolve
from agent.net.public_address import is_public
from agent.settings import AgentSettings, LatencySettings
from tests.unit.test_config_overlay import overlays
from xomnet.contract.remote_settings import MAX_SERVERS, Setting
from xomnet.settings import SettingsError

DOCUMENT: dict[str, Any] = {
    "agent": "nd-a",
    "state_dir": "state",
    "broker": {"host": "broker.example"},
    "servers": ["http://do1.example.vn:8080/", "http://10.9.8.7/"],
    "servers_allowed": ["*.do.example.vn", "10.1.1.1", "192.168.7.7"],
    "anchors": ["192.168.1.1", "1.1.1.1"],
    "lines": [
        {"line": "ftth", "access": "fixed"},
        {"line": "4g", "access": "mobile", "budget_gb": 3},
        {"line": "pilot", "access": "fixed", "every_s": 10, "budget_gb": 20},
    ],
}
PRIVATE = [
    "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
    "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]  # fmt: skip
HOSTS = ["do1.example.vn", "a.do.example.vn", "evil.example", "localhost", "2130706433", "0x7f.1", "127.1", *PRIVATE]


def effective(folder: Path, overlay: dict[str, Setting], **changes: Any) -> AgentSettings:
    config = folder / "agent.yaml"
    config.write_text(yaml.safe_dump({**DOCUMENT, **changes}))
    return read_with_overlay(config, overlay)


def refusal(folder: Path, key: str, value: Setting, **changes: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        effective(folder, {key: value}, **changes)
    assert caught.value.key.startswith(key.rpartition(".")[0])
    return str(caught.value)


@pytest.mark.parametrize("address", PRIVATE[:-1])
def test_what_is_not_of_the_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "203.113.131.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_what_is_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "server",
    [
        "http://169.254.169.254/latest/meta-data", "http://192.168.1.1/", "http://127.0.0.1:8421/", "http://[::1]:22/",
        "http://[::ffff:10.9.8.7]/", "http://localhost/", "http://2130706433/", "http://0x7f.1/", "http://evil.example/",
        "http://do.example.vn/", "http://xdo.example.vn/", "http://do1.example.vn@evil.example/",
        "http://evil.example\\@do1.example.vn/", "http://evil.example#@do1.example.vn/", "http://a.do.example.vn/ x",
        "http://do1.example.vn/\r\nX: y", f"http://do1.example.vn/{'x' * 500}", "http://a b.do.example.vn/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["servers", "lines.ftth.servers"])
def test_a_server_that_agent_yaml_does_not_allow_is_refused(tmp_path: Path, key: str, server: str) -> None:
    said = refusal(tmp_path, key, ("http://do1.example.vn/", server))
    assert f"{key}[1]: found " in said
    assert "allowed: " in said


@pytest.mark.parametrize(
    "server",
    [
        "http://do1.example.vn/", "http://DO1.example.vn:9090/speedtest", "http://10.9.8.7:81/", "http://10.1.1.1/",
        "http://new.do.example.vn:8080/",
    ],
)  # fmt: skip
def test_a_server_that_agent_yaml_names_or_allows_is_taken(tmp_path: Path, server: str) -> None:
    assert effective(tmp_path, {"servers": (server,)}).servers == (server,)


def test_without_a_list_only_the_hosts_of_agent_yaml_are_allowed(tmp_path: Path) -> None:
    allowed = {**DOCUMENT}
    del allowed["servers_allowed"]
    assert effective(tmp_path, {"servers": ("http://do1.example.vn/x",)}, servers_allowed=None).servers
    assert "allowed: a host that agent.yaml allows: 10.9.8.7, do1.example.vn" in refusal(
        tmp_path, "servers", ("http://a.do.example.vn/",), servers_allowed=None
    )
    assert "set servers_allowed" in refusal(tmp_path, "servers", ("http://x/",), servers_allowed=None, servers=[])


def test_a_thousand_servers_are_refused(tmp_path: Path) -> None:
    assert f"at most {MAX_SERVERS}" in refusal(tmp_path, "servers", ("http://do1.example.vn/",) * 1000)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("latency.every_s", 1e-9, "60 to 3600"),
        ("latency.every_s", 1e9, "60 to 3600"),
        ("health.every_s", 59, "60 to 3600"),
        ("lines.ftth.every_s", 1e-9, "600 to 86400"),
        ("lines.ftth.every_s", 1e9, "600 to 86400"),
        ("lines.pilot.every_s", 9, "10 to 86400"),
        ("lines.ftth.budget_gb", 1e-9, "0.1 or more"),
        ("lines.4g.budget_gb", 1e9, "at most 1e+06"),
        ("lines.4g.budget_gb", 3.1, "at most 3, as in agent.yaml"),
        ("lines.pilot.budget_gb", None, "at most 20, as in agent.yaml"),
        ("lines.4g.metered", False, "true, since agent.yaml has a metered line"),
        ("anchors", ("127.0.0.1",), "a public address"),
        ("anchors", ("x" * 256,), "HOST or HOST:PORT"),
        ("anchors", ("a b",), "HOST or HOST:PORT"),
        ("anchors", ("[::1]:80",), "a public address"),
    ],
)
def test_a_value_beyond_the_limits_is_refused_with_them(tmp_path: Path, key: str, value: Setting, allowed: str) -> None:
    assert allowed in refusal(tmp_path, key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("latency.every_s", 60), ("health.every_s", 3600), ("lines.pilot.every_s", 10), ("lines.pilot.every_s", None),
        ("lines.ftth.metered", True), ("lines.4g.budget_gb", 1), ("lines.ftth.budget_gb", 500),
        ("lines.4g.metered", None), ("anchors", ("192.168.1.1", "8.8.8.8", "a.example:53")),
        ("anchors", ("192.168.7.7:80", "192.168.1.1:22")),
    ],
)  # fmt: skip
def test_what_costs_no_more_is_taken(tmp_path: Path, key: str, value: Setting) -> None:
    effective(tmp_path, {key: value})


@settings(deadline=None, max_examples=80)
@given(overlay=overlays(any_value=True), hosts=st.lists(st.sampled_from(HOSTS), max_size=3))
def test_whatever_is_set_costs_no_more_and_reaches_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, overlay: dict[str, Setting], hosts: list[str]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    servers = tuple(f"http://[{host}]/" if ":" in host else f"http://{host}/" for host in hosts)
    plain = effective(folder, {})
    try:
        found = effective(folder, {**overlay, "servers": servers})
    except SettingsError:
        return
    assert all(host in ("do1.example.vn", "a.do.example.vn") for host in hosts)
    for before, now in zip(plain.lines, found.lines, strict=True):
        assert before.budget_bytes is None or (now.budget_bytes or 1e99) <= before.budget_bytes
        assert now.is_metered or not before.is_metered
        assert now.every_s is None or now.every_s >= min(600, before.every_s or 600)
    assert found.latency.every_s >= 60
    assert found.health.every_s >= 60
    assert found.broker == plain.broker


def test_a_name_is_checked_again_where_its_address_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = effective(tmp_path, {"servers": ("http://new.do.example.vn:8080/",)}).servers_allowed
    assert named is not None
    monkeypatch.setattr(http, "resolve", lambda host, port, *_: resolve("192.168.1.1", port))
    with pytest.raises(Failed) as caught:
        http.measure(Wanted(server="http://new.do.example.vn:8080/", named_hosts=named))
    assert (caught.value.error, caught.value.flags) == ("settings", ("unit_fault",))
    assert "192.168" not in caught.value.detail
    address = resolve("192.168.1.1", 80)
    for host in ("do1.example.vn", "DO1.example.vn", "10.1.1.1", "192.168.1.1"):
        check_reach(host, address, named)
    check_reach("anything", address, None)


def test_an_anchor_whose_name_leads_into_the_network_is_not_probed() -> None:
    found = probe([Anchor("localhost", 1, named_hosts=("x",))], None, LatencySettings(echoes=1, timeout_ms=50))
    assert (found.received, found.error) == (0, "unreachable")
    assert "not public" in (found.error_detail or "")
    assert probe([Anchor("localhost", 1, named_hosts=("localhost",))], None, LatencySettings(echoes=1)).received == 1
