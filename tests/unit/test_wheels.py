"""The wheels of a release: a build takes those whose checksums are written down, and no others."""

import functools
import http.server
import re
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from xomnet_cli import wheels
from xomnet_cli.wheels import WheelError

ROOT = Path(__file__).parents[2]
PYTHONS = ["3.11"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What tells which libraries a unit has."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def index(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A piwheels with the wheels that PyPI does not have; nothing else can be reached."""
    folder = tmp_path / "simple"
    for wanted in wheels.missing_on_pypi(source, wheels.requirements(source), PYTHONS):
        name, version = wanted.split("==")
        (folder / name).mkdir(parents=True)
        write_wheel(folder / name / f"{name}-{version}-cp311-cp311-linux_armv6l.whl")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(wheels, "INDEX", f"{url}/simple")
    monkeypatch.setenv("PIP_INDEX_URL", f"{url}/nothing")
    yield folder
    server.shutdown()
    server.server_close()


def write_wheel(path: Path, code: str = "") -> None:
    name, version, tag = path.stem.split("-", 2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
        archive.writestr(f"{name}-{version}.dist-info/WHEEL", f"Wheel-Version: 1.0\nTag: {tag}\n")


def only_missing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the libraries of a unit, those that PyPI does not have: the others are not on the index of the test."""
    exported = wheels.requirements(source)
    wanted = wheels.missing_on_pypi(source, exported, PYTHONS)
    parts = [part for part in re.split(r"(?m)^(?=[a-z])", exported) if part.split(" ")[0] in wanted]
    monkeypatch.setattr(wheels, "requirements", lambda _: "".join(parts))


def test_what_pypi_does_not_have_is_read_from_the_lock(source: Path) -> None:
    wanted = wheels.missing_on_pypi(source, wheels.requirements(source), ["3.11", "3.13"])
    assert [one.split("==")[0] for one in wanted] == ["msgspec", "psutil", "pyyaml"]


def test_without_checksums_nothing_is_downloaded(source: Path, tmp_path: Path) -> None:
    with pytest.raises(WheelError, match=r"no checksums of msgspec==[\d.]+, psutil==[\d.]+, pyyaml==[\d.]+; run"):
        wheels.fetch(source, PYTHONS, ["armv7l"], tmp_path)


def test_a_wheel_that_was_pinned_is_taken_and_another_of_its_name_is_not(
    source: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wheels.pin(source, PYTHONS) == wheels.missing_on_pypi(source, wheels.requirements(source), PYTHONS)
    only_missing(source, monkeypatch)
    into = tmp_path / "into"
    wheels.fetch(source, PYTHONS, ["armv7l"], into)
    assert {wheel.name.split("-")[0] for wheel in into.iterdir()} == {"msgspec", "psutil", "pyyaml"}
    (wheel,) = (index / "psutil").iterdir()
    write_wheel(wheel, "import os")
    with pytest.raises(WheelError, match="Expected"):
        wheels.fetch(source, PYTHONS, ["armv7l"], tmp_path / "again")
