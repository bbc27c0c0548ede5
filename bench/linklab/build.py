"""The C programs, compiled at their first use. A program's file name has a hash of the sources: it is never stale."""

import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE / ".build"
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
SOURCES = {"emulator": ("emulator.c", "path.c"), "traffic": ("traffic.c",)}
COMPILE_S = 60.0


class BuildError(RuntimeError):
    """A program of the laboratory could not be compiled: why, and what to do."""


_one_at_a_time = threading.Lock()


def built(name: str) -> Path:
    """The compiled program of this name. Raises BuildError."""
    with _one_at_a_time:
        return _built(name)


def _built(name: str) -> Path:
    content = b"".join(file.read_bytes() for file in sorted(HERE.glob("*.[ch]"))) + " ".join(FLAGS).encode()
    program = BUILT / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}"
    if program.exists():
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BuildError("no C compiler (cc, gcc) on the PATH; install it: apt-get install gcc libc6-dev")
    BUILT.mkdir(exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    argv = [compiler, *FLAGS, "-o", str(fresh), *(str(HERE / source) for source in SOURCES[name])]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        remedy = "; is libc6-dev installed?" if "No such file" in done.stderr else ""
        raise BuildError(f"{' '.join(argv)} failed{remedy}\n{done.stderr}")
    fresh.rename(program)
    for old in BUILT.glob(f"{name}-*"):
        if old != program and not old.suffix:
            old.unlink(missing_ok=True)
    return program
