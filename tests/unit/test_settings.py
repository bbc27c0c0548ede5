"""Settings: a good file becomes typed values; a bad one names file, line, key, what was found and what is allowed."""

import datetime as dt
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct
from msgspec import inspect as mi

from agent.settings import AgentSettings
from collector.settings import AlertSettings, CollectorSettings
from xomnet.settings import SettingsError, convert, load, parse
from xomnet.targets import load_targets


class Broker(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    key: Path | None = None


class Line(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Annotated[str, Meta(pattern="^[a-z]+$")]
    access: Literal["fixed", "mobile"]
    budget_gb: Annotated[float, Meta(gt=0)] | None = None


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    broker: Broker
    lines: list[Line]
    spool: Path
    audit: bool = False
    start: dt.date | None = None


GOOD = """\
broker:
  host: broker.example
  key: keys/unit.key
lines:
  - name: ftth
    access: fixed
  - name: mobile
    access: mobile
    budget_gb: 2.5
spool: spool.db
start: 2026-11-01
"""


def read(text: str) -> Settings:
    return parse(text, Settings, "agent.yaml", Path("/etc/xomnet"))


def refused(text: str) -> SettingsError:
    with pytest.raises(SettingsError) as raised:
        read(text)
    return raised.value


def test_a_good_file_becomes_typed_values() -> None:
    settings = read(GOOD)
    assert settings.broker == Broker(host="broker.example", port=1883, key=Path("/etc/xomnet/keys/unit.key"))
    assert settings.lines[1] == Line(name="mobile", access="mobile", budget_gb=2.5)
    assert (settings.start, settings.audit) == (dt.date(2026, 11, 1), False)


def test_a_path_is_taken_from_the_folder_of_the_file_or_from_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/unit")
    assert read(GOOD).spool == Path("/etc/xomnet/spool.db")
    assert read(GOOD.replace("spool.db", "/var/lib/spool.db")).spool == Path("/var/lib/spool.db")
    assert read(GOOD.replace("spool.db", "~/spool.db")).spool == Path("/home/unit/spool.db")


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "found", "allowed"),
    [
        ("key: keys", "prot: keys", 3, "broker.prot", "an unknown key", "port (did you mean it?)"),
        ("key: keys", "zzz: keys", 3, "broker.zzz", "an unknown key", "one of host, port, key"),
        ("  host: broker.example\n", "", 1, "broker.host", "nothing", "a text"),
        ("spool: spool.db\n", "", 1, "spool", "nothing", "a path"),
        ("key: keys/unit.key", "port: 99999", 3, "broker.port", "99999", "a whole number, at least 1, at most 65535"),
        ("key: keys/unit.key", "port: '1883'", 3, "broker.port", "'1883'", "a whole number"),
        ("key: keys/unit.key", "port: 18.5", 3, "broker.port", "18.5", "a whole number"),
        ("host: broker.example", "host: 5", 2, "broker.host", "5", "a text"),
        ("host: broker.example", "host:", 2, "broker.host", "nothing", "a text"),
        ("name: ftth", "name: FTTH", 5, "lines[0].name", "'FTTH'", "a text of the form ^[a-z]+$"),
        ("access: mobile", "access: cable", 8, "lines[1].access", "'cable'", "fixed or mobile"),
        ("budget_gb: 2.5", "budget_gb: 0", 9, "lines[1].budget_gb", "0", "a number, more than 0"),
        ("spool: spool.db", "spool: 7", 10, "spool", "7", "a path"),
        ("spool: spool.db", "spool: [a]", 10, "spool", "a list", "a path"),
        ("start: 2026-11-01", "audit: maybe", 11, "audit", "'maybe'", "true or false"),
        ("start: 2026-11-01", "start: 2026-02-30", 11, "start", "'2026-02-30'", "a date such as 2026-11-01"),
        ("start: 2026-11-01", "? [a]\n: 1", 11, "a key", "a group or a list", "a word"),
        ("start: 2026-11-01", "start: soon", 11, "start", "'soon'", "a date such as 2026-11-01"),
        ("start: 2026-11-01", "start: 2026-11-01\nspool: x", 12, "spool", "the key a second time", "each key once"),
    ],
)
def test_an_error_names_line_key_what_was_found_and_what_is_allowed(
    old: str, new: str, line: int, key: str, found: str, allowed: str
) -> None:
    assert old in GOOD
    error = refused(GOOD.replace(old, new, 1))
    assert (error.file, error.line, error.key, error.found) == ("agent.yaml", line, key, found)
    assert allowed in error.allowed
    assert str(error) == f"agent.yaml, line {line}: {key}: found {found}; allowed: {error.allowed}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "nothing"),
        ("# only a remark\n", "nothing"),
        ("- a\n- b\n", "a list"),
        ("just words", "'just words'"),
        ("lines: 5\nbroker: {host: a}\nspool: s\n", "5"),
        ("broker: words\nlines: []\nspool: s\n", "'words'"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, found: str) -> None:
    assert refused(text).found == found


@pytest.mark.parametrize("text", ["Sở\u202e", '"Sở \\u202e"', "|\n  Sở\u202e\n  VHTT"], ids=ascii)
def test_a_character_that_cannot_be_seen_is_refused_with_its_number(text: str) -> None:
    error = refused(GOOD.replace("spool: spool.db", f"spool: {text}"))
    assert (error.line, error.found) == (10, "the invisible or control character U+202E")
    assert refused(GOOD.replace("spool: spool.db", f'"spo\\u200bol": {text}')).found.endswith("U+200B")
    assert refused(GOOD.replace("spool: spool.db", 'spool: "\\ud800"')).found.endswith("U+D800")


@pytest.mark.parametrize(
    "text",
    [
        "a: [1",
        "a: b: c",
        "\tkey: 1",
        "a: *nobody",
        "a: !!python/object:os.system x",
        "a: b\n---\nc: d\n",
        "a: \x00",
        "a: !!int many",
        "<<: 1\n",
        "a: &x [*x]\n",
        "&x {a: *x}",
        "a: " + "[" * 3000,
        "a: " + "[" * 3000 + "]" * 3000,
    ],
)
def test_what_is_not_yaml_is_refused(text: str) -> None:
    error = refused(text)
    assert error.file == "agent.yaml"
    assert error.key == "YAML"


def test_a_missing_file_and_one_that_is_not_utf_8_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml.*readable YAML"):
        load(tmp_path / "nowhere.yaml", Settings)
    old = tmp_path / "old.yaml"
    old.write_bytes(b"host: \xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(old, Settings)


def test_a_file_is_read_with_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text(GOOD, encoding="utf-8")
    assert load(tmp_path / "agent.yaml", Settings).spool == tmp_path / "spool.db"


@given(st.text(max_size=120))
def test_no_text_makes_it_stumble(text: str) -> None:
    with pytest.raises(SettingsError):
        read(text)


yaml_like = st.lists(
    st.sampled_from(["a", ": ", "\n", "- ", "  ", "[", "]", "{", "}", "'", '"', "&x", "*x", "<<", "? ", "1"])
)


@given(yaml_like.map("".join))
def test_nothing_like_yaml_makes_it_stumble(text: str) -> None:
    with pytest.raises(SettingsError):
        read(text)


def test_targets_need_a_row_of_each_access(tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text("targets:\n  - {access: mobile, from: 2024-10-08, down_mbps: 70}\n")
    with pytest.raises(SettingsError, match="access: fixed"):
        load_targets(path)


def test_a_target_is_in_force_from_its_day() -> None:
    targets = load_targets(Path(__file__).parents[2] / "config" / "targets.yaml")
    assert targets.down_mbps("mobile", dt.date(2026, 11, 1)) == 70
    assert targets.down_mbps("fixed", dt.date(2026, 11, 1)) == 150
    assert targets.down_mbps("fixed", dt.date(2020, 1, 1)) == 150


# --- keys with a new name


class Timer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    RENAMED: ClassVar[Mapping[str, str]] = {"every": "interval_s"}

    interval_s: Annotated[float, Meta(gt=0)] = 60.0


class Disk(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="disk"):
    RENAMED: ClassVar[Mapping[str, str]] = {"file": "path"}

    path: str


class Server(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="server"):
    url: str


class Groups(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    timer: Timer = Timer()
    spare: Timer | None = None
    store: Disk | Server = Server(url="x")
    timers: tuple[Timer, ...] = ()


def groups(text: str) -> Groups:
    return parse(text, Groups, "collector.yaml", Path("/"))


@pytest.mark.parametrize(
    ("text", "made", "warning"),
    [
        ("timer: {every: 5}", Groups(timer=Timer(interval_s=5)), "line 1: timer.every is called timer.interval_s now"),
        ("spare:\n  every: 5", Groups(spare=Timer(interval_s=5)), "line 2: spare.every is called spare.interval_s now"),
        (
            "store:\n  kind: disk\n  file: f",
            Groups(store=Disk(path="f")),
            "line 3: store.file is called store.path now",
        ),
        (
            "timers:\n- interval_s: 5\n- every: 6",
            Groups(timers=(Timer(interval_s=5), Timer(interval_s=6))),
            "line 3: timers[1].every is called timers[1].interval_s now",
        ),
    ],
)
def test_an_old_name_is_taken_and_warned_of(
    text: str, made: Groups, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert groups(text) == made
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"collector.yaml, {warning}: the next version refuses the old name"


def test_a_new_name_is_taken_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert groups("timer: {interval_s: 5}") == Groups(timer=Timer(interval_s=5))
    assert not caplog.records


def test_both_names_at_once_are_refused_with_the_remedy() -> None:
    with pytest.raises(SettingsError) as error:
        groups("timer:\n  interval_s: 5\n  every: 6")
    assert str(error.value) == (
        "collector.yaml, line 3: timer.every: found the old name of timer.interval_s beside it; "
        "allowed: timer.interval_s alone: remove timer.every"
    )


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("timer:\n  every: -5", 2, "timer.interval_s"),
        ("spare:\n  every: 5\n  evry: 6", 3, "spare.evry"),
        ("timers:\n- {}\n- every: no", 3, "timers[1].interval_s"),
        ("store:\n  kind: server\n  file: f\n  url: x", 3, "store.file"),
    ],
)
def test_an_error_at_an_old_name_names_its_line(text: str, line: int, key: str) -> None:
    with pytest.raises(SettingsError) as error:
        groups(text)
    assert (error.value.line, error.value.key) == (line, key)


def test_settings_without_a_file_have_old_names_too(caplog: pytest.LogCaptureFixture) -> None:
    assert convert({"timer": {"every": 5}}, Groups, "from the server", Path("/")) == Groups(timer=Timer(interval_s=5))
    assert caplog.records[0].getMessage().startswith("from the server: timer.every is called")


def test_the_alerts_of_version_0_1_keep_their_settings() -> None:
    old = {"hold_s": 1, "suspect_s": 2, "together_s": 3, "together_short_s": 4, "calm_s": 5}
    new = ("group_wait_s", "max_group_wait_s", "group_window_s", "group_window_short_s", "keep_firing_for_s")
    found = convert(old, AlertSettings, "collector.yaml", Path("/"))
    assert found == AlertSettings(**dict(zip(new, old.values(), strict=True)))


def test_every_renamed_key_leads_to_one_that_there_is() -> None:
    def structs(type_: mi.Type) -> Iterator[mi.StructType]:
        if isinstance(type_, mi.UnionType):
            for one in type_.types:
                yield from structs(one)
        elif isinstance(type_, mi.StructType):
            yield type_
            for field in type_.fields:
                yield from structs(field.type)

    for settings in (AgentSettings, CollectorSettings):
        for struct in structs(mi.type_info(settings)):
            names = {field.encode_name for field in struct.fields}
            renamed = getattr(struct.cls, "RENAMED", {})
            assert set(renamed.values()) <= names
            assert not names & renamed.keys()
