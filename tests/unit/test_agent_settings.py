"""agent.yaml: what is allowed, what follows from it, and how each key's error reads."""

from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from agent.settings import AgentSettings, LineSettings, read
from xomnet.settings import SettingsError, load

GOOD = """\
agent: nd-haihau-0012
state_dir: state
broker:
  host: do.example.vn
  tls: {ca: ca.crt, cert: unit.crt, key: unit.key}
servers: ["http://do.example.vn:8080/"]
anchors: [1.1.1.1, "8.8.8.8:53"]
lines:
  - line: ftth
    access: fixed
    interface: eth0
  - line: 4g
    access: mobile
    interface: wwan0
    budget_gb: 3
"""

CHANGES = [
    ("agent: nd-haihau-0012", "agent: Hải Hậu", 1, "agent", "'Hải Hậu'", "lower-case letters, digits and hyphens"),
    ("agent: nd-haihau-0012\n", "", 1, "agent", "nothing", "lower-case letters, digits and hyphens"),
    ("state_dir: state", "state_dir: 7", 2, "state_dir", "7", "a path"),
    ("state_dir: state", "state-dir: state", None, "state-dir", "an unknown key", "state_dir (did you mean it?)"),
    ("  host: do.example.vn", "  host: 5", 4, "broker.host", "5", "a text"),
    ("  host: do.example.vn", "  port: 70000", 4, "broker.port", "70000", "at most 65535"),
    ("  host: do.example.vn", '  protocol: "4"', 4, "broker.protocol", "'4'", "3.1.1 or 5"),
    ("  host: do.example.vn", "  keepalive_s: 1", 4, "broker.keepalive_s", "1", "at least 5"),
    ("  host: do.example.vn", "  password_file: [a]", 4, "broker.password_file", "a list", "a path"),
    ("  tls: {ca: ca.crt, cert: unit.crt, key: unit.key}", "  tls: {cert: a}", 5, "broker.tls.ca", "nothing", "a path"),
    ('["http://do.example.vn:8080/"]', "[do.example.vn]", 6, "servers[0]", "'do.example.vn'", "^http://"),
    ('["http://do.example.vn:8080/"]', '["https://do.example.vn"]', 6, "servers[0]", "https", "^http://"),
    ("[1.1.1.1,", '["",', 7, "anchors[0]", "''", "a text"),
    ('[1.1.1.1, "8.8.8.8:53"]', "[a, b, c, d, e]", 7, "anchors", "a list", "a list"),
    ("  - line: ftth", "  - line: FTTH", 9, "lines[0].line", "'FTTH'", "lower-case letters, digits and hyphens"),
    ("    access: fixed", "    access: fibre", 10, "lines[0].access", "'fibre'", "fixed or mobile"),
    ("    access: fixed\n", "", 9, "lines[0].access", "nothing", "fixed or mobile"),
    ("    interface: eth0", "    interface: a/b", 11, "lines[0].interface", "'a/b'", "a text of the form"),
    ("    interface: eth0", "    modem: --reset", 11, "lines[0].modem", "'--reset'", "a text of the form"),
    ("    interface: eth0", "    metered: 1", 11, "lines[0].metered", "1", "true or false"),
    ("    interface: eth0", "    engine: iperf", 11, "lines[0].engine", "'iperf'", "http or ookla or speedtest-cli"),
    ("    interface: eth0", "    servers: [x]", 11, "lines[0].servers[0]", "'x'", "^http://"),
    ("    interface: eth0", "    target_mbps: 0", 11, "lines[0].target_mbps", "0", "more than 0"),
    ("    budget_gb: 3", "    budget_gb: -1", 15, "lines[1].budget_gb", "-1", "more than 0"),
    ("    budget_gb: 3", "    every_s: soon", 15, "lines[1].every_s", "'soon'", "a number"),
    ("    budget_gb: 3", "    streams: 13", 15, "lines[1].streams", "13", "at most 12"),
    ("    budget_gb: 3", "    stream: 3", 15, "lines[1].stream", "an unknown key", "streams (did you mean it?)"),
]
ADDED = [
    ("latency: {every_s: 0}", "latency.every_s", "0", "more than 0"),
    ("latency: {echoes: 0}", "latency.echoes", "0", "at least 1"),
    ("latency: {interval_ms: 5}", "latency.interval_ms", "5", "at least 10"),
    ("latency: {timeout_ms: 9999}", "latency.timeout_ms", "9999", "at most 3000"),
    ("health: {every_s: x}", "health.every_s", "'x'", "a number"),
    ("clock: {assume_synced: maybe}", "clock.assume_synced", "'maybe'", "true or false"),
    ("clock: {hold_s: -1}", "clock.hold_s", "-1", "more than 0"),
    ("spool: {max_mb: 0}", "spool.max_mb", "0", "more than 0"),
    ("precheck: {cpu_busy_percent: 101}", "precheck.cpu_busy_percent", "101", "at most 100"),
    ("precheck: {cross_traffic_mbps: 0}", "precheck.cross_traffic_mbps", "0", "more than 0"),
    ("precheck: {defer_s: 0}", "precheck.defer_s", "0", "more than 0"),
    ("precheck: {defer_times: 21}", "precheck.defer_times", "21", "at most 20"),
    ("timezone: Asia/Hanoi", "timezone", "'Asia/Hanoi'", "a time zone such as Asia/Ho_Chi_Minh"),
    ("timezone: ../../etc/passwd", "timezone", "'../../etc/passwd'", "a time zone such as Asia/Ho_Chi_Minh"),
    ("timezone: 7", "timezone", "7", "a time zone such as Asia/Ho_Chi_Minh"),
    ("servers_allowed: ['http://a.example.vn']", "servers_allowed[0]", "'http://a.example.vn'", "a text of the form"),
    ("servers_allowed: ['a.*.vn']", "servers_allowed[0]", "'a.*.vn'", "a text of the form"),
    ("log_level: loud", "log_level", "'loud'", "debug or error or info or warning"),
]


def write(folder: Path, text: str) -> Path:
    path = folder / "agent.yaml"
    path.write_text(text)
    return path


def error_of(folder: Path, text: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        read(write(folder, text))
    return caught.value


def test_good_settings_and_what_follows_from_them(tmp_path: Path) -> None:
    found = read(write(tmp_path, GOOD))
    assert found.state_dir == tmp_path / "state"
    assert found.broker.tls is not None
    assert found.broker.tls.key == tmp_path / "unit.key"
    fibre, mobile = found.lines
    assert [fibre.is_metered, mobile.is_metered] == [False, True]
    assert [fibre.budget_bytes, mobile.budget_bytes] == [None, 3_000_000_000]
    assert found.timezone == ZoneInfo("Asia/Ho_Chi_Minh")


def test_a_metered_line_has_five_gigabytes_a_month_unless_it_says_otherwise() -> None:
    assert LineSettings(line="a", access="mobile").budget_bytes == 5_000_000_000
    assert LineSettings(line="a", access="mobile", metered=False).budget_bytes is None
    assert LineSettings(line="a", access="fixed", metered=True).budget_bytes == 5_000_000_000
    assert LineSettings(line="a", access="fixed", budget_gb=0.5).budget_bytes == 500_000_000


@pytest.mark.parametrize(("old", "new", "line", "key", "found", "allowed"), CHANGES)
def test_an_error_names_file_line_key_what_was_found_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, line: int | None, key: str, found: str, allowed: str
) -> None:
    assert old in GOOD
    error = error_of(tmp_path, GOOD.replace(old, new, 1))
    assert error.key == key
    assert found in error.found
    assert allowed in error.allowed
    assert line is None or error.line == line
    where = f"{tmp_path}/agent.yaml" + (f", line {error.line}" if error.line else "")
    assert str(error) == f"{where}: {key}: found {error.found}; allowed: {error.allowed}"


@pytest.mark.parametrize(("text", "key", "found", "allowed"), ADDED)
def test_so_do_the_keys_that_may_be_left_out(tmp_path: Path, text: str, key: str, found: str, allowed: str) -> None:
    error = error_of(tmp_path, GOOD + text + "\n")
    assert (error.key, error.found, error.line) == (key, found, GOOD.count("\n") + 1)
    assert allowed in error.allowed


def test_every_key_has_a_test_here() -> None:
    """A new key comes with the test of its error."""
    keys_tested = [key for _, _, _, key, *_ in CHANGES] + [key for _, key, *_ in ADDED]
    tested = {key.split(".")[-1].split("[")[0] for key in keys_tested}
    plain = {"username", "cert", "key"}  # any text, any path: checked by their neighbours

    def keys(kind: type) -> set[str]:
        found: set[str] = set()
        for field in msgspec.structs.fields(kind):
            inner = [t for t in _structs(field.type)]
            found |= set().union(*(keys(t) for t in inner)) if inner else {field.encode_name}
        return found

    assert keys(AgentSettings) <= tested | plain


def _structs(type_: object) -> list[type]:
    from typing import get_args

    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return [type_]
    return [struct for argument in get_args(type_) for struct in _structs(argument)]


def test_no_line_and_more_than_eight_are_refused(tmp_path: Path) -> None:
    head = GOOD[: GOOD.index("lines:")]
    for lines in ("lines: []", "lines: [" + ", ".join(f"{{line: l{n}, access: fixed}}" for n in range(9)) + "]"):
        error = error_of(tmp_path, head + lines + "\n")
        assert (error.key, error.found) == ("lines", "a list")


def test_two_lines_of_one_name_are_refused(tmp_path: Path) -> None:
    error = error_of(tmp_path, GOOD.replace("line: 4g", "line: ftth"))
    assert str(error) == (
        f"{tmp_path}/agent.yaml: lines[1].line: found 'ftth'; allowed: a name of its own for each line"
    )


@pytest.mark.parametrize("server", ["http://[/", "http://a:99999/", "http://a:x/", "http://:80/", "http://[1::2::3]/"])
def test_a_server_that_is_no_address_is_refused_with_its_place(tmp_path: Path, server: str) -> None:
    """Where one is measured, it would end the agent."""
    error = error_of(tmp_path, GOOD.replace("http://do.example.vn:8080/", server))
    assert (error.key, error.found, error.allowed) == (
        "servers[0]",
        repr(server),
        "http://HOST[:PORT], PORT up to 65535",
    )
    error = error_of(tmp_path, GOOD.replace("budget_gb: 3", f'servers: ["http://good/", "{server}"]'))
    assert error.key == "lines[1].servers[1]"


def test_the_same_type_reads_without_those_checks(tmp_path: Path) -> None:
    assert load(write(tmp_path, GOOD), AgentSettings) == read(tmp_path / "agent.yaml")
