"""Results in which every field is set, so that a test sees what becomes of each."""

from itertools import count
from typing import Any, TypeVar

from msgspec import Struct, structs
from msgspec import inspect as mi

S = TypeVar("S", bound=Struct)


def filled(data: type[S]) -> S:
    """A value in each field, and no number twice; a text is the name of its field."""
    return _filled(data, count(1))


def _filled(data: type[S], numbers: "count[int]") -> S:
    return data(**{field.name: _value(mi.type_info(field.type), field.name, numbers) for field in structs.fields(data)})


def _value(kind: mi.Type, name: str, numbers: "count[int]") -> Any:
    match kind:
        case mi.UnionType():
            return _value(next(one for one in kind.types if not isinstance(one, mi.NoneType)), name, numbers)
        case mi.StructType():
            return _filled(kind.cls, numbers)
        case mi.VarTupleType():
            return (_value(kind.item_type, name, numbers), _value(kind.item_type, f"{name}.2", numbers))
        case mi.BoolType():
            return True
        case mi.IntType():
            return next(numbers)
        case mi.FloatType():
            return next(numbers) + 0.25
        case _:
            return name
