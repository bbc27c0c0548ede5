"""What a run of the deployment saw, step by step, for docs/deploy-test.md."""

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

HEAD = """\
# The last run of `make deploy-test`

Machines that boot, and the plays of [deploy/ansible](../deploy/ansible) on them: Debian 12 under systemd-nspawn, on
networks of their own. Written by the run itself, {when}.

| step | what was seen | s |
|---|---|---|
"""


class Step(NamedTuple):
    what: str
    seen: str
    seconds: float


@dataclass
class RunLog:
    steps: list[Step] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Gives the function that says what was seen; a step that fails is written down as such."""
        seen: list[str] = []
        began = time.monotonic()
        try:
            yield seen.append
        except BaseException as error:
            seen.append(f"**failed**: {type(error).__name__}")
            raise
        finally:
            self.steps.append(Step(what, "; ".join(seen), time.monotonic() - began))

    def text(self) -> str:
        rows = [f"| {step.what} | {step.seen} | {step.seconds:.1f} |\n" for step in self.steps]
        return HEAD.format(when=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}") + "".join(rows)
