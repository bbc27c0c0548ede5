"""The fields of a result as a database, REST and CSV have them: one level, each with its declaration."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, get_origin

from msgspec import NODEFAULT, Struct, structs
from msgspec import inspect as mi

from xomnet.contract.fields import UNITS, Field


@dataclass(frozen=True, slots=True)
class FlatField:
    """The fields of a structure within a result stand on their own, so that they can be compared: `radio_rsrp_dbm`."""

    name: str
    owner: type[Struct]
    path: tuple[str, ...]
    """The attributes that lead to it: `radio`, `rsrp_dbm`."""
    type: Any
    """As annotated, with its bounds."""
    kind: mi.Type
    """What it holds where it is not None."""
    may_be_none: bool
    default: Any
    declared: Field | None
    """None for `at`, `spool` and their like, which were not measured."""

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is NODEFAULT

    @property
    def is_list(self) -> bool:
        return isinstance(self.kind, mi.VarTupleType)

    @property
    def is_raw(self) -> bool:
        return self.declared is not None and self.declared.shown == "raw"

    @property
    def unit(self) -> str | None:
        return UNITS.get(self.name.rpartition("_")[2])


@cache
def flat_fields(data: type[Struct]) -> tuple[FlatField, ...]:
    """The fields of a structure, those of a structure within it in its place."""
    return tuple(_flat(data, ()))


@cache
def declared_fields(data: type[Struct]) -> tuple[tuple[FlatField, Field], ...]:
    """The fields that were measured, each with its declaration."""
    return tuple((field, field.declared) for field in flat_fields(data) if field.declared is not None)


def flat_values(data: Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of what is not absent, named as in `flat_fields`."""
    for attribute in data.__struct_fields__:
        value = getattr(data, attribute)
        if value is None or value == ():
            continue
        if isinstance(value, Struct):
            yield from flat_values(value, f"{prefix}{attribute}_")
        else:
            yield prefix + attribute, value


def _flat(data: type[Struct], path: tuple[str, ...]) -> Iterator[FlatField]:
    for field in structs.fields(data):
        here = (*path, field.name)
        kinds = _kinds(field.type)
        kind = next(one for one in kinds if not isinstance(one, mi.NoneType))
        if isinstance(kind, mi.StructType):
            yield from _flat(kind.cls, here)
        else:
            may_be_none = any(isinstance(one, mi.NoneType) for one in kinds)
            declared = _declaration(field.type)
            yield FlatField("_".join(here), data, here, field.type, kind, may_be_none, field.default, declared)


def _kinds(type_: Any) -> tuple[mi.Type, ...]:
    kind = mi.type_info(type_)
    return kind.types if isinstance(kind, mi.UnionType) else (kind,)


def _declaration(type_: Any) -> Field | None:
    if get_origin(type_) is not Annotated:
        return None
    return next((one for one in type_.__metadata__ if isinstance(one, Field)), None)
