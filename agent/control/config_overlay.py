"""What was changed from afar, laid over agent.yaml: pure."""

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from agent.settings import AgentSettings, check
from xomnet.contract.remote_settings import CHANGEABLE, Setting, allowed, form
from xomnet.settings import SettingsError, convert, document, parse, text_of

AFAR = "settings from afar"
"""Stands in errors where the file's name would."""

Overlay = Mapping[str, Setting]

_LINE = re.compile(r"^lines\[(\d+)\]")


def read(config: Path, overlay: Overlay) -> AgentSettings:
    """agent.yaml with the overlay on it. Raises SettingsError, which says whose fault it is."""
    text = text_of(config)
    settings = parse(text, AgentSettings, str(config), config.parent)
    check(settings, str(config))
    if not overlay:
        return settings
    try:
        found = convert(merged(document(text, str(config)), overlay), AgentSettings, AFAR, config.parent)
        check(found, AFAR)
    except SettingsError as error:
        key = _LINE.sub(lambda found: f"lines.{settings.lines[int(found[1])].line}", error.key)
        raise SettingsError(AFAR, None, key, error.found, error.allowed) from error
    return found


def merged(document: Any, overlay: Overlay) -> Any:
    """The document of a good agent.yaml with the overlay's values in their places; the document stays as it is.

    Raises SettingsError where a key may not be changed from afar, or is of a line that the document does not have.
    """
    result = _copied(document)
    for key, value in overlay.items():
        if form(key) is None:
            raise SettingsError(AFAR, None, key, "a key that is not changed from afar", allowed(key))
        *groups, last = key.split(".")
        group = _group(result, groups, key)
        if value is None:
            group.pop(last, None)
        else:
            group[last] = list(value) if isinstance(value, tuple) else value
    return result


def _copied(value: Any) -> Any:
    """Every group its own: YAML's `&name` and `*name` make one of two."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def _group(document: Any, groups: list[str], key: str) -> dict[str, Any]:
    """Where the last part of a key belongs."""
    if groups[:1] == ["lines"]:
        by_name: dict[str, dict[str, Any]] = {line["line"]: line for line in document["lines"]}
        if groups[1] not in by_name:
            raise SettingsError(AFAR, None, key, f"no line {groups[1]}", ", ".join(by_name))
        return by_name[groups[1]]
    for name in groups:
        document = document.setdefault(name, {})
    found: dict[str, Any] = document
    return found


def changed(overlay: Overlay, settings: Overlay, unset: tuple[str, ...]) -> dict[str, Setting]:
    """The overlay after a change: what is set takes the place of what was, what is unset is agent.yaml's again."""
    return {key: value for key, value in {**overlay, **settings}.items() if key not in unset}


def in_force(settings: AgentSettings) -> dict[str, Setting]:
    """What the keys of the list have come to, defaults by access included; absent: slots, no limit, the unit's own."""
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
