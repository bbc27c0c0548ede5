"""Which code reads the wall clock, by its source."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

Name = tuple[str, str]
"""A module and a name in it; "" for the module as a whole."""

CLOCKS: frozenset[Name] = frozenset(
    {("agent.clock.clock", "read_clock"), ("xomnet.runtime.clock", "utc_now"), ("time", "time"), ("time", "time_ns")}
)
"""Functions that read it."""
READ = {
    *(("datetime", name) for name in ("now", "utcnow", "today")),
    *(("date", "today"), ("time", "time"), ("time", "time_ns"), ("time", "CLOCK_REALTIME")),
}
"""What the standard library reads it by: the last two names, by whatever name they are imported."""
READ_WITHOUT = {("time", "gmtime"): 1, ("time", "localtime"): 1, ("time", "ctime"): 1, ("time", "strftime"): 2}
"""What reads it if it is given fewer arguments."""
PYTHON = ("sys", "executable")
"""A Python that a test starts has a clock of its own."""


def modules(*folders: str) -> dict[str, ast.Module]:
    """Each module of these folders, by its dotted name."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_bytes())
    return found


def imported(tree: ast.AST, module: str) -> dict[str, Name]:
    """What each name that an import binds, at any place, stands for."""
    found: dict[str, Name] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {one.asname or one.name: (one.name, "") for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(module.split(".")[: -node.level]) if node.level else ""
            source = ".".join(part for part in (above, node.module) if part)
            found |= {one.asname or one.name: (source, one.name) for one in node.names}
    return found


def read_at(tree: ast.Module) -> list[int]:
    """The lines on which the standard library's clock is read."""
    bound = imported(tree, "")
    return [node.lineno for node in ast.walk(tree) if isinstance(node, ast.expr) and _reads(node, bound)]


def readers(trees: Mapping[str, ast.Module], known: Iterable[Name] = CLOCKS) -> set[Name]:
    """The definitions that read the clock: themselves, in a Python of their own, or by another definition that they
    name, a fixture's too. `known` are those outside of these modules.
    """
    found, uses = set(known), dict[Name, set[Name]]()
    for module, tree in trees.items():
        names = _Names(module, trees)
        for name, nodes in _definitions(tree).items():
            uses[module, name] = {used for node in nodes for used in names.used(node)}
            if any(names.reads_clock(node) for node in nodes):
                found.add((module, name))
    while more := {one for one, used in uses.items() if used & found} - found:
        found |= more
    return found


def is_marked(tree: ast.Module, name: str, mark: str) -> bool:
    """Whether a test has this mark, of its own or by `pytestmark`."""
    definitions, bound = _definitions(tree), imported(tree, "")
    marked = [*definitions.get("pytestmark", []), *(one for test in definitions[name] for one in _decorators(test))]
    return any(_dotted(node, bound) == ("mark", mark) for one in marked for node in ast.walk(one))


class _Names:
    """What the names in a module stand for."""

    def __init__(self, module: str, trees: Mapping[str, ast.Module]) -> None:
        self._module, self._imported = module, imported(trees[module], module)
        self._defined = _definitions(trees[module])
        self._always = [name for name, nodes in self._defined.items() if any(map(_is_autouse, nodes))]
        above = module.split(".")[:-1]
        conftests = [".".join([*above[:depth], "conftest"]) for depth in range(len(above), 0, -1)]
        self._fixtures = {one: _definitions(trees[one]) for one in conftests if one in trees}

    def reads_clock(self, tree: ast.AST) -> bool:
        """By itself, or by a Python that it starts."""
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.expr)]
        return any(_reads(node, self._imported) or _dotted(node, self._imported) == PYTHON for node in nodes)

    def used(self, tree: ast.AST) -> Iterator[Name]:
        if isinstance(tree, ast.FunctionDef) and tree.name.startswith("test_"):
            yield from ((self._module, name) for name in self._always)
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=owner), attr=name) if owner in self._imported:
                    yield ".".join(part for part in self._imported[owner] if part), name
                case ast.Name(id=name):
                    yield self._imported.get(name, (self._module, name))
                case ast.arg(arg=name) | ast.Constant(value=str(name)):  # a fixture, in usefixtures("…") too
                    yield from self._fixture(name)

    def _fixture(self, name: str) -> Iterator[Name]:
        if name in self._imported:
            yield self._imported[name]
        elif name in self._defined:
            yield self._module, name
        else:
            yield from ((one, name) for one, defined in self._fixtures.items() if name in defined)


def _reads(node: ast.expr, bound: Mapping[str, Name]) -> bool:
    match node:
        case ast.Attribute() | ast.Name(ctx=ast.Load()):
            return _dotted(node, bound) in READ
        case ast.Call(func=called, args=given):
            return len(given) < READ_WITHOUT.get(_dotted(called, bound), 0)
        case _:
            return False


def _dotted(node: ast.AST, bound: Mapping[str, Name]) -> Name:
    """The last two names of what an expression stands for."""
    *_, owner, name = "", "", *_path(node, bound)
    return owner, name


def _path(node: ast.AST, bound: Mapping[str, Name]) -> Iterator[str]:
    match node:
        case ast.Attribute(value=owner, attr=name):
            yield from _path(owner, bound)
            yield name
        case ast.Name(id=name):
            yield from (part for part in bound.get(name, ("", name)) if part)


def _definitions(tree: ast.Module) -> dict[str, list[ast.AST]]:
    found: dict[str, list[ast.AST]] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.setdefault(name, []).append(node)
            case ast.Assign() | ast.AnnAssign() | ast.With() | ast.If():
                for target in ast.walk(node):
                    if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                        found.setdefault(target.id, []).append(node)
    return found


def _decorators(node: ast.AST) -> list[ast.expr]:
    return node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []


def _is_autouse(node: ast.AST) -> bool:
    return any(
        isinstance(word, ast.keyword) and word.arg == "autouse" for one in _decorators(node) for word in ast.walk(one)
    )
