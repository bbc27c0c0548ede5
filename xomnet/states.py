"""The five states of a line: one definition of their names, marks, colours and order."""

from typing import Literal, NamedTuple, get_args

State = Literal["short", "silent", "uncertain", "not_assessable", "meeting"]
"""Worst first: the order of every table."""


class Look(NamedTuple):
    """How a state is shown; the word and the mark go with the colour, which never stands alone."""

    mark: str
    en: str
    vi: str
    colour: str


LOOKS: dict[State, Look] = {
    "short": Look("▼", "BELOW TARGET", "DƯỚI CHỈ TIÊU", "#c62828"),
    "silent": Look("○", "SILENT", "MẤT LIÊN LẠC", "#6b7280"),
    "uncertain": Look("◐", "UNCERTAIN", "CHƯA KẾT LUẬN", "#a15c00"),
    "not_assessable": Look("–", "NOT ASSESSABLE", "KHÔNG ĐÁNH GIÁ ĐƯỢC", "#6b7280"),
    "meeting": Look("●", "MEETING", "ĐẠT", "#2e7d32"),
}

STATES: tuple[State, ...] = get_args(State)


def worst_first(state: State) -> int:
    """A sort key: 0 for the worst state."""
    return STATES.index(state)
