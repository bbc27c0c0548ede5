"""Remote settings laid over agent.yaml. Pure, but for reading that file."""

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent.control.remote_limits import REMOTE, check_limits, named_hosts
from agent.settings import AgentSettings, check
from xomnet.contract.remote_settings import CHANGEABLE, Setting, suggestion, template_of
from xomnet.settings import SettingsError, convert, parse, parse_document, read_text

Overlay = Mapping[str, Setting]

_LINE = re.compile(r"^lines\[(\d+)\]")


def read_with_overlay(config: Path, overlay: Overlay) -> AgentSettings:
    """agent.yaml with the overlay on it. Raises SettingsError, whose `file` is agent.yaml's or REMOTE.

    Its `servers_allowed` are the hosts that agent.yaml names: only their addresses may be private.
    """
    text = read_text(config)
    settings = parse(text, AgentSettings, str(config), config.parent)
    check(settings, str(config))
    if not overlay:
        return replace(settings, servers_allowed=named_hosts(settings))
    try:
        found = convert(merge(parse_document(text, str(config)), overlay), AgentSettings, REMOTE, config.parent)
        check(found, REMOTE)
    except SettingsError as error:
        key = _LINE.sub(lambda found: f"lines.{settings.lines[int(found[1])].line}", error.key)
        raise SettingsError(REMOTE, None, key, error.found, error.allowed) from error
    check_limits(settings, found)
    return replace(found, servers_allowed=named_hosts(settings))


def merge(document: Any, overlay: Overlay) -> Any:
    """The document of a good agent.yaml with the overlay's values in their places; the document stays as it is.

    Raises SettingsError if the server may not change a key, or if a key names a line that the document does not have.
    """
    result = _copy(document)
    for key, value in overlay.items():
        if template_of(key) is None:
            raise SettingsError(REMOTE, None, key, "a key that cannot be changed remotely", suggestion(key))
        *groups, last = key.split(".")
        group = _group(result, groups, key)
        if value is None:
            group.pop(last, None)
        else:
            group[last] = list(value) if isinstance(value, tuple) else value
    return result


def _copy(value: Any) -> Any:
    """A copy in which no two groups are one object, as YAML's `&name` and `*name` make them."""
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value


def _group(document: Any, groups: list[str], key: str) -> dict[str, Any]:
    """The group that the last part of a key belongs to. Raises SettingsError."""
    if groups[:1] == ["lines"]:
        by_name: dict[str, dict[str, Any]] = {line["line"]: line for line in document["lines"]}
        if groups[1] not in by_name:
            raise SettingsError(REMOTE, None, key, f"no line {groups[1]}", ", ".join(by_name))
        return by_name[groups[1]]
    for name in groups:
        document = document.setdefault(name, {})
    found: dict[str, Any] = document
    return found


def apply_change(overlay: Overlay, settings: Overlay, unset: tuple[str, ...]) -> dict[str, Setting]:
    """The overlay after a change: `settings` replace its values; a key of `unset` has agent.yaml's value again."""
    return {key: value for key, value in {**overlay, **settings}.items() if key not in unset}


def effective_values(settings: AgentSettings) -> dict[str, Setting]:
    """The values in force of all keys that the server may change, defaults by access included.

    A key without a value is absent: tests by slots, no limit, the unit's servers.
    """
    return {key: value for key, value in _values(settings) if value is not None}


def _values(settings: AgentSettings) -> Iterator[tuple[str, Setting]]:
    for key in CHANGEABLE:
        *groups, last = key.split(".")
        if groups[:1] != ["lines"]:
            whole: Any = settings
            yield key, reduce(getattr, [*groups, last], whole)
            continue
        for line in settings.lines:
            gb = None if line.budget_bytes is None else line.budget_bytes / 1e9
            worked_out: dict[str, Setting] = {"metered": line.is_metered, "budget_gb": gb}
            yield f"lines.{line.line}.{last}", worked_out[last] if last in worked_out else getattr(line, last)
