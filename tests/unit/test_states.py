"""The states of a line: their order is a choice, their codes are what is stored."""

from xomnet.states import CODES, LOOKS, STATES, worst_first


def test_a_code_that_is_stored_never_changes() -> None:
    """Each new state gets the next number, wherever it is shown."""
    assert CODES == {"short": 0, "silent": 1, "uncertain": 2, "not_assessable": 3, "meeting": 4, "no_data": 5}


def test_every_state_has_a_code_and_a_look() -> None:
    assert set(STATES) == CODES.keys() == LOOKS.keys()


def test_the_worst_come_first_and_what_is_not_known_before_what_is_good() -> None:
    assert sorted(STATES, key=worst_first) == [
        *("short", "silent", "no_data", "uncertain", "not_assessable", "meeting")
    ]
