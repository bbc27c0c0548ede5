"""The path of an area: `Ninh Bình/xã Hải Anh`, the widest level first.

How many levels there are is not written down anywhere: districts were abolished and provinces merged on 1 July 2025.
The updater, which is standard library alone, and Grafana's queries have `is_within` in forms of their own.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

SEPARATOR = "/"


def levels(path: str) -> tuple[str, ...]:
    """`A/B/C` -> A, B, C; none of an empty path."""
    return tuple(path.split(SEPARATOR)) if path else ()


def joined(levels: Iterable[str]) -> str:
    """A, B, C -> `A/B/C`."""
    return SEPARATOR.join(levels)


def areas_of(path: str) -> Iterator[str]:
    """The areas that a path lies in, the widest first: `A/B/C` -> A, A/B, A/B/C."""
    names = levels(path)
    return (joined(names[:depth]) for depth in range(1, len(names) + 1))


def last_level(path: str) -> str:
    """`A/B/C` -> C."""
    return path.rpartition(SEPARATOR)[2]


def is_within(path: str, area: str) -> bool:
    """True where a path is an area or lies below it."""
    return path == area or path.startswith(area + SEPARATOR)


def below(path: str, area: str) -> str:
    """What of a path lies below an area that it is within: `A/B/C` below `A` -> `B/C`; all of it if `area` is empty."""
    return joined(levels(path)[len(levels(area)) :])


def shared_area(paths: Iterable[str]) -> str:
    """The area that all paths lie in, as far down as they share it; empty where they share none."""
    by_depth: Iterable[Sequence[str]] = zip(*(levels(path) for path in paths), strict=False)
    return joined(names[0] for names in takewhile(lambda names: len(set(names)) == 1, by_depth))


def same_name(given: str, name: str) -> bool:
    """True where people mean a provider or an area of the registry: a Mac writes Vietnamese in other bytes."""
    return unicodedata.normalize("NFC", given).strip(SEPARATOR + " ") == unicodedata.normalize("NFC", name)
