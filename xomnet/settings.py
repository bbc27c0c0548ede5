"""Settings from YAML into frozen types; an error names file, line, key, what was found and what is allowed.

A key that has a new name keeps the old one for a version: its group has `RENAMED: ClassVar[Mapping[str, str]]`, the old
name -> the new one. The old name is taken, and a warning names the new one.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import yaml
from msgspec import inspect as mi

from xomnet.contract import topics
from xomnet.contract.characters import unfit_characters
from xomnet.plan import PROVINCE_TIME
from xomnet.runtime.log import Log

log = Log("xomnet.settings")

T = TypeVar("T")

_MESSAGE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(r"Object (?P<problem>missing required|contains unknown) field `(?P<field>[^`]+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")

Step = str | int


class SettingsError(Exception):
    """A settings file that can't be used; its text is for the person who wrote the file."""

    def __init__(self, file: str, line: int | None, key: str, found: str, allowed: str) -> None:
        self.file, self.line, self.key, self.found, self.allowed = file, line, key, found, allowed
        super().__init__(f"{_where(file, line)}: {key}: found {found}; allowed: {allowed}")


def _where(file: str, line: int | None) -> str:
    return file if line is None else f"{file}, line {line}"


def load(path: Path, kind: type[T]) -> T:
    """Reads one YAML file as `kind`. Relative paths in it are taken from the file's folder. Raises SettingsError.

    A key's old name is taken and warned of.
    """
    return parse(read_text(path), kind, str(path), path.parent)


def read_text(path: Path) -> str:
    """The text of a file. Raises SettingsError."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(str(path), None, "file", error.strerror or str(error), "a readable YAML file") from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            str(path), None, "file", "bytes that are not UTF-8", "a YAML file saved as UTF-8"
        ) from error


def parse(text: str, kind: type[T], file: str, base: Path) -> T:
    """As `load`, from text; `file` is named in errors, relative paths are taken from `base`."""
    root, data = _document(text, file)
    return _convert(data, kind, file, base, root)


def parse_document(text: str, file: str) -> Any:
    """The groups, lists and values of a text, not yet typed. Raises SettingsError if it is no YAML."""
    return _document(text, file)[1]


def convert(data: Any, kind: type[T], file: str, base: Path) -> T:
    """As `parse`, from the result of `parse_document`; an error names no line."""
    return _convert(data, kind, file, base, None)


def _document(text: str, file: str) -> tuple[yaml.Node | None, Any]:
    try:
        return _load_yaml(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = None if mark is None else mark.line + 1
        raise SettingsError(file, line, "YAML", error.problem or "a syntax error", "valid YAML") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(file, None, "YAML", str(error).splitlines()[0], "valid YAML") from error
    except RecursionError as error:
        raise SettingsError(file, None, "YAML", "groups nested without end", "a few levels") from error


def _convert(data: Any, kind: type[T], file: str, base: Path, root: yaml.Node | None) -> T:
    def from_text(wanted: type[Any], value: Any) -> Any:
        if wanted is Path and isinstance(value, str):
            return base / Path(value).expanduser()
        if wanted is ZoneInfo and isinstance(value, str):
            try:
                return ZoneInfo(value)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"No time zone {value!r}") from None
        raise TypeError(f"Expected a text, got `{type(value).__name__}`")

    data = _with_new_names(data, mi.type_info(kind), file, root)
    try:
        return msgspec.convert(data, kind, dec_hook=from_text)
    except msgspec.ValidationError as error:
        raise _explain(str(error), kind, root, data, file) from error


class _Loader(yaml.SafeLoader):
    """Dates stay texts: they are read with their type, so that an error names the line of a 30 February."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # as its parent has it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _load_yaml(text: str, file: str) -> tuple[yaml.Node | None, Any]:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None, {}
        _check_nodes(root, file)
        return root, loader.construct_document(root)
    finally:
        loader.dispose()


def _check_nodes(node: yaml.Node, file: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise SettingsError(file, line, "a key", "a group or a list", "a word")
            if key.value in seen:
                raise SettingsError(file, line, str(key.value), "the key a second time", "each key once")
            seen.add(key.value)
            _check_nodes(key, file)
            _check_nodes(value, file)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_nodes(item, file)
    elif unfit := unfit_characters(node.value.replace("\n", " ").replace("\t", " ")):
        line = node.start_mark.line + 1
        raise SettingsError(file, line, "a text", f"the invisible or control character {unfit}", "a text without it")


def _with_new_names(data: Any, type_: mi.Type, file: str, node: yaml.Node | None, steps: tuple[Step, ...] = ()) -> Any:
    """A copy of the data with renamed keys under their new names, which the nodes get too, for the lines of errors.

    Raises SettingsError if both names of a key are given.
    """
    type_ = _type_of(data, type_)
    if isinstance(type_, mi.StructType) and isinstance(data, dict):
        types = {field.encode_name: field.type for field in type_.fields}
        renamed: Mapping[str, str] = getattr(type_.cls, "RENAMED", {})
        nodes = {key.value: (key, value) for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
        result = {}
        for name, value in data.items():
            key, below = nodes.get(name, (None, None))
            new = renamed.get(name, name)
            if new != name:
                line = None if key is None else key.start_mark.line + 1
                old, now = _dotted_key([*steps, name]), _dotted_key([*steps, new])
                if new in data:
                    raise SettingsError(
                        file, line, old, f"the old name of {now} beside it", f"{now} alone: remove {old}"
                    )
                log.warning(f"{_where(file, line)}: {old} is called {now} now: the next version refuses the old name")
                if key is not None:
                    key.value = new
            result[new] = _with_new_names(value, types[new], file, below, (*steps, new)) if new in types else value
        return result
    if isinstance(type_, mi.ListType | mi.VarTupleType) and isinstance(data, list):
        nodes_of = node.value if isinstance(node, yaml.SequenceNode) else [None] * len(data)
        return [
            _with_new_names(value, type_.item_type, file, below, (*steps, number))
            for number, (value, below) in enumerate(zip(data, nodes_of, strict=True))
        ]
    return data


def _type_of(data: Any, type_: mi.Type) -> mi.Type:
    """Of a union, the group that the data's tag names; else the group or list that it allows."""
    if not isinstance(type_, mi.UnionType):
        return type_
    groups = [one for one in type_.types if isinstance(one, mi.StructType | mi.ListType | mi.VarTupleType)]
    if len(groups) > 1 and isinstance(data, dict):
        structs = [one for one in groups if isinstance(one, mi.StructType) and one.tag_field]
        groups = [one for one in structs if data.get(str(one.tag_field)) == one.tag]
    return groups[0] if len(groups) == 1 else type_


def _explain(message: str, kind: type, root: yaml.Node | None, data: Any, file: str) -> SettingsError:
    match = _MESSAGE.match(message)
    what, steps = (match["what"], list(_steps(match["path"] or ""))) if match else (message, [])
    field = _FIELD.match(what)
    type_ = _type_at(mi.type_info(kind), steps)
    if field:
        name = field["field"]
        key = _dotted_key([*steps, name])
        if field["problem"] == "missing required":
            return SettingsError(file, _line(root, steps), key, "nothing", _describe(_type_at(type_, [name])))
        names = [f.encode_name for f in type_.fields] if isinstance(type_, mi.StructType) else []
        close = difflib.get_close_matches(name, names, 1)
        hint = f"{close[0]} (did you mean it?)" if close else "one of " + ", ".join(names)
        return SettingsError(file, _line(root, [*steps, name]), key, "an unknown key", hint)
    value = data
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
    allowed = _describe(type_) if type_ is not None else what
    return SettingsError(file, _line(root, steps), _dotted_key(steps) or "the file", _format_value(value), allowed)


def _steps(path: str) -> Iterator[Step]:
    for name, index in _STEP.findall(path):
        yield name if name else int(index)


def _dotted_key(steps: Sequence[Step]) -> str:
    return "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")


def _format_value(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a group of keys" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(value)


def _line(node: yaml.Node | None, steps: list[Step]) -> int | None:
    """The line of the deepest part of the path that the file has."""
    line = None if node is None else node.start_mark.line + 1
    for step in steps:
        if isinstance(node, yaml.MappingNode) and isinstance(step, str):
            found = [(k, v) for k, v in node.value if k.value == step]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _type_at(type_: mi.Type | None, steps: list[Step]) -> mi.Type | None:
    for step in steps:
        if isinstance(type_, mi.UnionType):
            type_ = next((t for t in type_.types if isinstance(t, mi.StructType | mi.ListType | mi.VarTupleType)), None)
        if isinstance(type_, mi.StructType) and isinstance(step, str):
            type_ = next((f.type for f in type_.fields if f.encode_name == step), None)
        elif isinstance(type_, mi.ListType | mi.VarTupleType | mi.SetType):
            type_ = type_.item_type
        else:
            return None
    return type_


def _describe(type_: mi.Type | None) -> str:  # one sentence for each type
    match type_:
        case mi.BoolType():
            return "true or false"
        case mi.IntType() | mi.FloatType():
            return ("a whole number" if isinstance(type_, mi.IntType) else "a number") + _bounds(type_)
        case mi.StrType(pattern=topics.NAME_PATTERN):
            return "lower-case letters, digits and hyphens, at most 32, such as nd-haihau-0012"
        case mi.StrType(pattern=str(pattern)):
            return f"a text of the form {pattern}"
        case mi.StrType():
            return "a text"
        case mi.LiteralType(values=values):
            return " or ".join(str(v) for v in values)
        case mi.DateType():
            return "a date such as 2026-11-01"
        case mi.UnionType(types=types):
            return " or ".join(_describe(t) for t in types if not isinstance(t, mi.NoneType))
        case mi.ListType(item_type=item) | mi.VarTupleType(item_type=item):
            return f"a list; each item: {_describe(item)}"
        case mi.StructType(fields=fields):
            return "a group with the keys " + ", ".join(f.encode_name for f in fields)
        case mi.CustomType(cls=cls):
            return f"a time zone such as {PROVINCE_TIME}" if cls is ZoneInfo else "a path"
        case _:
            return "another kind of value"


def _bounds(type_: mi.IntType | mi.FloatType) -> str:
    words = [
        ("at least", type_.ge),
        ("more than", type_.gt),
        ("at most", type_.le),
        ("less than", type_.lt),
    ]
    return "".join(f", {word} {bound:g}" for word, bound in words if bound is not None)
