"""The six states of a line: one definition of their names, codes, marks, colours and order."""

from typing import Literal, NamedTuple, get_args

State = Literal["short", "silent", "no_data", "uncertain", "not_assessable", "meeting"]
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
    "no_data": Look("·", "NO DATA YET", "CHƯA CÓ SỐ LIỆU", "#6b7280"),
    "uncertain": Look("◐", "UNCERTAIN", "CHƯA KẾT LUẬN", "#a15c00"),
    "not_assessable": Look("–", "NOT ASSESSABLE", "KHÔNG ĐÁNH GIÁ ĐƯỢC", "#6b7280"),
    "meeting": Look("●", "MEETING", "ĐẠT", "#2e7d32"),
}

STATES: tuple[State, ...] = get_args(State)

CODES: dict[State, int] = {
    "short": 0,
    "silent": 1,
    "uncertain": 2,
    "not_assessable": 3,
    "meeting": 4,
    "no_data": 5,
}
"""`state_code` in the database. It says nothing of the order: a code never changes, since stored points keep theirs."""


def worst_first(state: State) -> int:
    """A sort key: 0 for the worst state."""
    return STATES.index(state)
