"""How far remote settings may go from agent.yaml, which a person wrote on the unit. Pure.

Whoever can send commands may be a thief, who must not make a unit look into its own network, spend money, measure
without a pause, or fall silent. What agent.yaml itself says is always allowed.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from agent.measure.latency import parse_anchor
from agent.net.public_address import is_address, is_public
from agent.settings import AgentSettings, LineSettings
from xomnet.contract.remote_settings import LIMITS, MAX_SERVERS
from xomnet.contract.values import MAX_TEXT
from xomnet.settings import SettingsError

REMOTE = "remote settings"
"""Stands in errors in place of a file's name."""
_SERVER = re.compile(r"http://[^\s/?#@\\]+(/[!-~]*)?")

_ANCHOR = re.compile(r"[^\s\x00-\x1f/]{1,255}")


def check_limits(plain: AgentSettings, found: AgentSettings) -> None:
    """Raises SettingsError if the settings `found`, with remote ones over those of agent.yaml, go too far from them."""
    _check_number("latency.every_s", plain.latency.every_s, found.latency.every_s)
    _check_number("health.every_s", plain.health.every_s, found.health.every_s)
    _check_servers("servers", plain, plain.servers, found.servers)
    _check_anchors(plain, found)
    for before, now in zip(plain.lines, found.lines, strict=True):
        _check_line(plain, before, now)


def named_hosts(plain: AgentSettings) -> tuple[str, ...]:
    """The hosts that agent.yaml names, in whatever list: a person knows where they are."""
    anchors = (parse_anchor(anchor).host.lower() for anchor in plain.anchors)
    return tuple(sorted({*_allowed_hosts(plain), *anchors}))


def _check_line(plain: AgentSettings, before: LineSettings, now: LineSettings) -> None:
    key = f"lines.{before.line}"
    if now.every_s is not None:
        _check_number(f"{key}.every_s", before.every_s, now.every_s)
    if before.is_metered and not now.is_metered:
        raise _refusal(f"{key}.metered", "false", "true, since agent.yaml has a metered line")
    if now.budget_gb is not None:
        _check_number(f"{key}.budget_gb", before.budget_gb, now.budget_gb)
    most = before.budget_bytes
    if most is not None and (now.budget_bytes is None or now.budget_bytes > most):
        value = "no limit" if now.budget_bytes is None else f"{now.budget_bytes / 1e9:g}"
        raise _refusal(f"{key}.budget_gb", value, f"at most {most / 1e9:g}, as in agent.yaml")
    _check_servers(f"{key}.servers", plain, before.servers or (), now.servers or ())


def _check_number(key: str, before: float | None, now: float) -> None:
    template = key if key in LIMITS else re.sub(r"^lines\.[^.]+", "lines.LINE", key)
    low, high = LIMITS[template]
    if before is not None:
        low, high = min(low, before), max(high, before)
    if not low <= now <= high:
        most = "" if high == float("inf") else f" to {high:g}"
        raise _refusal(key, f"{now:g}", f"{low:g}{most or ' or more'}")


def _check_servers(key: str, plain: AgentSettings, before: tuple[str, ...], now: tuple[str, ...]) -> None:
    if len(now) > max(MAX_SERVERS, len(before)):
        raise _refusal(key, f"{len(now)} servers", f"at most {MAX_SERVERS}")
    allowed = _allowed_hosts(plain)
    for number, server in enumerate(now):
        is_server = len(server) <= MAX_TEXT and _SERVER.fullmatch(server)
        if server not in before and not (is_server and _is_allowed(_host(server), allowed)):
            hosts = ", ".join(sorted(allowed)) or "none; set servers_allowed in agent.yaml"
            raise _refusal(f"{key}[{number}]", repr(server)[:200], f"a host that agent.yaml allows: {hosts}")


def _check_anchors(plain: AgentSettings, found: AgentSettings) -> None:
    named = named_hosts(plain)
    for number, anchor in enumerate(found.anchors):
        if anchor in plain.anchors:
            continue
        if not _ANCHOR.fullmatch(anchor):
            raise _refusal(f"anchors[{number}]", repr(anchor)[:200], "HOST or HOST:PORT")
        host = parse_anchor(anchor).host.lower()
        if host not in named and is_address(host) and not is_public(host):
            raise _refusal(
                f"anchors[{number}]", repr(anchor)[:200], "a public address, or a host that agent.yaml names"
            )


def _allowed_hosts(plain: AgentSettings) -> frozenset[str]:
    servers = (*plain.servers, *(server for line in plain.lines for server in line.servers or ()))
    return frozenset((*_hosts(servers), *(host.lower() for host in plain.servers_allowed or ())))


def _is_allowed(host: str, allowed: frozenset[str]) -> bool:
    if host in allowed:
        return True
    below = (entry.removeprefix("*") for entry in allowed if entry.startswith("*."))
    return not is_address(host) and any(host.endswith(domain) for domain in below)


def _hosts(servers: tuple[str, ...]) -> Iterator[str]:
    return (host for server in servers if (host := _host(server)))


def _host(server: str) -> str:
    return (urlsplit(server).hostname or "").lower()


def _refusal(key: str, found: Any, allowed: str) -> SettingsError:
    return SettingsError(REMOTE, None, key, str(found), allowed)
