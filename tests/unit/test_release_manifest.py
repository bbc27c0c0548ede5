"""Which release a unit installs, and what the operator's command writes and signs."""

import datetime as dt
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.releases import Press
from updater import releases
from updater.canary_rollout import draw, is_included
from updater.errors import UpdateError
from updater.manifest import parse, version_key, wheel_fits
from updater.settings import UpdaterSettings
from updater.state import ReleaseFailure, UpdaterState
from updater.upgrade import decide, is_expired
from xomnet_cli.release import release

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
BEFORE, AFTER = "2026-11-22T18:59:00+07:00", "2026-11-22T19:01:00+07:00"


def manifest(version: str = "2.0.0", stages: object = (), made: str = BEFORE, **more: object) -> bytes:
    files = [{"name": "xomnet-2.0.0-py3-none-any.whl", "sha256": "0" * 64, "bytes": 1}]
    document = {"version": version, "python": ["3.11"], "files": files, "for": stages, "made": made}
    return json.dumps(document | more).encode()


@pytest.mark.parametrize(
    ("wheel", "python", "machine", "good"),
    [
        ("rich-15.0.0-py3-none-any.whl", (3, 13), "aarch64", True),
        ("shellingham-1.5.4-py2.py3-none-any.whl", (3, 11), "armv7l", True),
        ("msgspec-0.22.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", (3, 11), "aarch64", True),
        ("msgspec-0.22.0-cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64.whl", (3, 13), "aarch64", False),
        ("msgspec-0.22.0-cp313-cp313t-manylinux2014_aarch64.whl", (3, 13), "aarch64", False),
        ("msgspec-0.22.0-cp311-cp311-musllinux_1_2_aarch64.whl", (3, 11), "aarch64", False),
        ("psutil-7.2.2-cp36-abi3-manylinux2014_x86_64.manylinux_2_28_x86_64.whl", (3, 13), "x86_64", True),
        ("psutil-7.2.2-cp36-abi3-manylinux2014_x86_64.manylinux_2_28_x86_64.whl", (3, 13), "aarch64", False),
        ("later-1.0-cp312-abi3-manylinux2014_x86_64.whl", (3, 11), "x86_64", False),
        ("msgspec-0.22.0-cp311-cp311-linux_armv6l.whl", (3, 11), "armv7l", True),
        ("msgspec-0.22.0-cp311-cp311-linux_armv7l.whl", (3, 11), "aarch64", False),
    ],
)
def test_a_wheel_fits_a_python_and_a_machine(wheel: str, python: tuple[int, int], machine: str, good: bool) -> None:
    assert wheel_fits(wheel, python, machine) is good


@pytest.mark.parametrize(
    ("stage", "good"),
    [
        ({"agents": ["nd-a"], "from": BEFORE}, True),
        ({"agents": ["nd-a"], "from": AFTER}, False),
        ({"agents": ["nd-b"], "from": BEFORE}, False),
        ({"areas": ["Nam Định/Hải Hậu"], "from": BEFORE}, True),
        ({"areas": ["Nam Định/Hải"], "from": BEFORE}, False),
        ({"areas": ["Nam Định"], "agents": ["nd-b"], "from": BEFORE}, False),
        ({"share": 1, "from": BEFORE}, True),
        ({"share": 0, "from": BEFORE}, False),
    ],
)
def test_a_stage_means_who_fits_all_that_it_names(stage: dict[str, object], good: bool) -> None:
    found = parse(manifest(stages=[stage]))
    assert is_included(found.stages, found.version, "nd-a", "Nam Định/Hải Hậu/Hải Minh", NOON) is good


def test_a_growing_share_keeps_whom_it_has_and_is_about_as_large_as_it_says() -> None:
    drawn = [draw("2.0.0", f"nd-{number}") for number in range(2_000)]
    assert 150 < sum(one < 0.1 for one in drawn) < 250


def test_versions_are_compared_as_numbers() -> None:
    rising = ["0.9.9", "0.10.0.dev1", "0.10.0a1", "0.10.0rc1", "0.10.0rc2", "0.10.0", "0.10.1", "1"]
    assert sorted(rising, key=version_key) == rising
    assert version_key("1.0") == version_key("1.0.0")


@pytest.mark.parametrize(
    ("version", "have", "more", "what"),
    [
        ("2.0.0", "1.0.0", {}, "take"),
        ("2.0.0", None, {}, "take"),
        ("2.0.0", "2.0.0", {}, "same"),
        ("1.9.0", "2.0.0", {}, "refused"),
        ("1.9.0", "2.0.0", {"downgrade": True}, "take"),
        ("2.0.0", "1.0.0", {"made": "2026-11-01T00:00:00Z"}, "refused"),
        ("3.0.0", "1.0.0", {}, "waits"),
    ],
)
def test_what_a_unit_makes_of_a_manifest(version: str, have: str | None, more: dict[str, object], what: str) -> None:
    seen = UpdaterState(
        Path(), made=dt.datetime(2026, 11, 10, tzinfo=dt.UTC), failed={"3.0.0": ReleaseFailure("", 1, True)}
    )
    assert decide(parse(manifest(version, **more)), have, seen, True)[0] == what  # type: ignore[arg-type]


def test_an_expired_release_is_not_taken_and_one_in_use_stays() -> None:
    found, seen = parse(manifest()), UpdaterState(Path())
    assert decide(found, "1.0.0", seen, True, expired=True)[0] == "refused"
    assert decide(found, "2.0.0", seen, True, expired=True)[0] == "same"


@pytest.mark.parametrize(
    ("clock", "now", "expired"),
    [
        ("yes", "2027-01-01T00:00:00Z", True),
        ("yes", "2026-12-31T23:59:59Z", False),
        ("no", "2027-01-01T00:00:00Z", False),
    ],
)
def test_a_release_expires_by_a_clock_that_is_synchronised(clock: str, now: str, expired: bool) -> None:
    settings = UpdaterSettings(agent="nd-a", server="https://localhost", clock=("echo", clock))
    found = parse(manifest(expires="2027-01-01T00:00:00Z"))
    assert is_expired(settings, found, dt.datetime.fromisoformat(now)) is expired


def test_a_manifest_of_version_0_1_is_valid_for_a_year() -> None:
    found = parse(manifest())
    assert found.expires - found.made == dt.timedelta(days=365)


@pytest.mark.parametrize(
    "wrong",
    [
        b"[]",
        b"{}",
        manifest("../../etc"),
        manifest(made="2026-11-22T12:00:00"),
        manifest(made="9999-11-22T12:00:00Z"),
        manifest(expires="2027-01-01"),
        manifest(expires=None),
        manifest(stages=[{"from": BEFORE}]),
        manifest(stages=[{"everybody": True, "from": BEFORE}]),
        manifest(files=[{"name": "../x-1-py3-none-any.whl", "sha256": "0" * 64, "bytes": 1}]),
        manifest(files=[]),
    ],
)
def test_a_wrong_manifest_is_refused_with_a_sentence(wrong: bytes) -> None:
    with pytest.raises(UpdateError, match=r"make the release again|allowed"):
        parse(wrong)


@pytest.mark.date
def test_a_stage_is_added_and_the_manifest_signed_again(tmp_path: Path) -> None:
    press = Press(tmp_path / "v1")
    press.release("2.0.0", stages=[])
    run = CliRunner()
    done = run.invoke(release, ["stage", str(press.folder), "--area", "Nam Định", "--share", "0.5", "--from", AFTER])
    assert done.exit_code == 0, done.output
    assert not (press.folder / "manifest.json.sig").exists()  # the old one would not hold
    done = run.invoke(release, ["sign", str(press.folder), "--key", str(press.key)])
    assert done.exit_code == 0, done.output
    data = (press.folder / "manifest.json").read_bytes()
    signature = (press.folder / "manifest.json.sig").read_bytes()
    releases.verify(data, signature, press.signers)
    (stage,) = parse(data).stages
    assert (stage.areas, stage.share, stage.start) == (("Nam Định",), 0.5, dt.datetime.fromisoformat(AFTER))
    with pytest.raises(UpdateError, match="no valid signature"):
        releases.verify(data + b" ", signature, press.signers)


@pytest.mark.date
def test_a_release_is_refreshed_before_it_is_signed(tmp_path: Path) -> None:
    press, run = Press(tmp_path / "v1"), CliRunner()
    press.release("2.0.0", expires="2026-01-01T00:00:00Z")
    before = parse((press.folder / "manifest.json").read_bytes())
    argv = ["sign", str(press.folder), "--key", str(press.key)]
    done = run.invoke(release, argv)
    assert (done.exit_code, "first: xomnet release refresh" in done.output) == (1, True)
    done = run.invoke(release, ["refresh", str(press.folder), "--days", "30"])
    assert done.exit_code == 0, done.output
    found = parse((press.folder / "manifest.json").read_bytes())
    assert (found.version, found.files, found.stages) == (before.version, before.files, before.stages)
    assert found.expires - found.made == dt.timedelta(days=30)
    assert found.expires > dt.datetime.now(dt.UTC)
    assert run.invoke(release, argv).exit_code == 0


def refused(*arguments: str | Path) -> str:
    """Why a command fails."""
    done = CliRunner().invoke(release, [str(one) for one in arguments])
    assert (done.exit_code, done.stdout) == (1, "")
    return done.stderr.rstrip("\n")


def test_a_stage_for_nobody_is_refused(tmp_path: Path) -> None:
    assert refused("stage", tmp_path).startswith("a stage needs units")


def test_where_no_release_is_it_says_how_to_make_one(tmp_path: Path) -> None:
    folder, key = tmp_path / "a release", tmp_path / "key"
    key.touch()
    said = f"{folder}/manifest.json: No such file or directory; make a release first: xomnet release make '{folder}'"
    assert refused("stage", folder, "--share", "1") == said
    assert refused("sign", folder, "--key", key) == said


def test_a_file_that_can_not_be_read_or_written_is_named_with_the_reason(tmp_path: Path) -> None:
    listed, signature, project = (tmp_path / name for name in ("manifest.json", "manifest.json.sig", "pyproject.toml"))
    at_source = "name the source tree with --source"
    assert refused("make", tmp_path, "--source", tmp_path) == f"{project}: No such file or directory; {at_source}"
    project.write_text("[project]\n")
    assert refused("make", tmp_path, "--source", tmp_path) == f"{project}: project.version is missing; {at_source}"
    project.write_text("[project]\nversion = '1.0'\n")
    within = project / "release"
    assert refused("make", within, "--source", tmp_path).startswith(f"{within}/files: Not a directory; name a folder")
    listed.mkdir()
    assert refused("stage", tmp_path, "--share", "1").startswith(f"{listed}: Is a directory; name the folder")
    listed.rmdir()
    listed.write_bytes(manifest())
    signature.mkdir()
    assert refused("stage", tmp_path, "--share", "1").startswith(f"{signature}: Is a directory; name a folder")
