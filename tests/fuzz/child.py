"""`python -m tests.fuzz.child TARGET CORPUS [libFuzzer's options]`: fails at the first harm."""

import sys

import atheris

with atheris.instrument_imports(include=["agent", "collector", "measurement_server", "xomnet", "email", "http", "csv"]):
    from tests.fuzz.targets import TARGETS
    from tests.security.cases import mutate


def change(data: bytes, max_bytes: int, seed: int) -> bytes:
    """Half of the time a change of bytes, otherwise one that leaves a document a document."""
    changed = mutate(data, seed) if seed % 2 else data
    return changed if changed != data and len(changed) <= max_bytes else bytes(atheris.Mutate(data, max_bytes))


def main() -> None:
    _, target, *options = sys.argv
    mutator = {"custom_mutator": change} if TARGETS[target].json else {}
    atheris.Setup([sys.argv[0], *options], TARGETS[target].run, **mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
