"""What an attack did, in numbers, for the table of `make attack`: of the test that runs, from wherever in it."""

_of_test: list[tuple[str, object]] = []


def note(what: str, figure: object) -> None:
    _of_test.append((what, figure))


def take() -> list[tuple[str, object]]:
    """Those noted since the last call."""
    taken = _of_test.copy()
    _of_test.clear()
    return taken
