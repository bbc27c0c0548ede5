"""The rules of the measurement server: pace, places, paths, bodies."""

import datetime as dt
import io
import socket
from collections.abc import Iterable
from email.message import Message
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from agent.measure.engines import TestSpec
from measurement_server.acceptor import source_of
from measurement_server.admission import Admission, ServedClient, retry_after_s
from measurement_server.body import BodyError, discard_body
from measurement_server.day_bytes import DayBytes
from measurement_server.limits import ServerLimits
from measurement_server.pacing import SLACK_S, Pacer
from measurement_server.permissions import KeyFileError, PermissionVerifier
from measurement_server.request_slots import RequestSlots
from measurement_server.routes import AnswerKind, BadRequestError, UnknownPathError, find_route
from xomnet.contract.permission import signed_bytes, to_permission_text

ONE, TWO, THREE = (ServedClient("test", name) for name in ("one", "two", "three"))
A, B, C, D = (socket.socket() for _ in range(4))
"""Streams."""
KEY = Ed25519PrivateKey.generate()


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_stream_alone_gets_the_whole_rate() -> None:
    clock = Clock()
    pacer = Pacer(80, clock)
    for _ in range(1000):
        clock.now += pacer.reserve(10_000)
    assert clock.now - 1000 == pytest.approx(0.999, abs=1e-6)  # the first chunk leaves at once; 10 MB/s from there


def test_six_streams_share_the_rate_in_equal_turns() -> None:
    clock = Clock()
    pacer = Pacer(80, clock)
    due = {stream: clock.now + pacer.reserve(10_000) for stream in range(6)}
    turns = dict.fromkeys(due, 0)
    while clock.now < 1001:
        stream = min(due, key=due.__getitem__)
        clock.now = max(clock.now, due[stream])
        turns[stream] += 1
        due[stream] = clock.now + pacer.reserve(10_000)
    assert sum(turns.values()) == pytest.approx(1000, abs=2)
    assert max(turns.values()) - min(turns.values()) <= 1


@given(
    rate=st.floats(0.1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 0.5), st.integers(1, 131_072)), min_size=1, max_size=60),
)
def test_a_client_never_gets_more_than_its_rate_however_late_it_comes(
    rate: float, steps: list[tuple[float, int]]
) -> None:
    clock = Clock()
    pacer = Pacer(rate, clock)
    sent = 0
    for late_s, size in steps:
        clock.now += late_s + pacer.reserve(size)
        assert sent <= rate * 1e6 / 8 * (clock.now - 1000 + SLACK_S) + 1
        sent += size


def test_a_chunk_is_some_milliseconds_of_the_rate_and_never_huge() -> None:
    assert Pacer(100).chunk_bytes == 50_000
    assert Pacer(0.1).chunk_bytes == 2896
    assert Pacer(100_000).chunk_bytes == 131_072


def test_past_the_last_place_a_client_is_refused_but_not_the_next_streams_of_one_that_runs() -> None:
    admission = Admission(2, 0, ServerLimits(), clock=Clock())
    assert admission.enter(ONE, A)
    assert admission.enter(TWO, B)
    assert admission.enter(THREE, C) is None
    assert admission.enter(ONE, C)


def test_a_place_is_kept_for_the_grace_and_then_free() -> None:
    clock = Clock()
    admission = Admission(1, 0, ServerLimits(grace_s=2), clock=clock)
    first = admission.enter(ONE, A)
    assert first
    admission.leave(first, A)
    clock.now += 1.9
    assert admission.enter(TWO, B) is None
    assert admission.enter(ONE, A) is first
    clock.now += 50
    assert admission.enter(TWO, B) is None, "a stream runs"
    admission.leave(first, A)
    clock.now += 2
    assert admission.enter(TWO, B)


def test_a_test_that_is_over_is_reported_once_with_all_its_bytes() -> None:
    clock = Clock()
    admission = Admission(1, 50, ServerLimits(grace_s=2), clock=clock)
    test = admission.enter(ONE, A)
    assert test
    assert admission.enter(ONE, B) is test
    for stream in (A, B):
        test.streams[stream] += 100
    assert test.bytes == 200
    for stream in (A, B):
        clock.now += 3
        test.streams[stream] += 1
        assert admission.leave(test, stream) == 101
    assert admission.remove_ended() == []
    clock.now += 2
    [over] = admission.remove_ended()
    assert (over.client, over.bytes, over.ended_at - over.began_at) == (ONE, 202, 6)
    assert admission.remove_ended() == []


def stranger(test: str, source: str) -> ServedClient:
    return ServedClient("test", test, None, source)


def of_unit(test: str, unit: str, source: str = "192.0.2.1") -> ServedClient:
    return ServedClient("test", test, unit, source)


def test_strangers_have_places_of_their_own_and_no_others() -> None:
    admission = Admission(4, 0, ServerLimits(), stranger_tests=2, clock=Clock())
    assert admission.enter(stranger("a", "192.0.2.1"), A)
    assert admission.enter(stranger("b", "192.0.2.1"), B) is None, "half of them at most for one source"
    assert admission.enter(stranger("c", "192.0.2.2"), C)
    assert admission.enter(stranger("d", "192.0.2.3"), D) is None
    assert admission.enter(of_unit("e", "nd-1"), A)
    assert admission.enter(of_unit("f", "nd-2"), B), "one address, as behind CGNAT"
    assert admission.enter(of_unit("g", "nd-3"), C) is None


def test_a_unit_has_two_places_at_most() -> None:
    admission = Admission(8, 0, ServerLimits(), stranger_tests=2, clock=Clock())
    assert [bool(admission.enter(of_unit(test, "nd-1"), A)) for test in "abc"] == [True, True, False]
    assert admission.enter(of_unit("d", "nd-2"), A)


def test_the_streams_of_a_test_may_come_from_several_addresses() -> None:
    admission = Admission(4, 0, ServerLimits(), stranger_tests=2, clock=Clock())
    assert admission.enter(stranger("a", "192.0.2.1"), A) is admission.enter(stranger("a", "192.0.2.2"), B)


def _cut_after_s(mbps: float, burst_bytes: int = 0, limits: ServerLimits | None = None) -> float | None:
    """When a test that takes so much a second is cut; None if it is not within a minute and a half."""
    clock = Clock()
    admission = Admission(1, 0, limits or ServerLimits(), clock=clock)
    test = admission.enter(ONE, A)
    assert test
    test.streams[A] += burst_bytes
    for tenths in range(900):
        if admission.cut_overdue():
            assert admission.enter(ONE, B) is None
            return tenths / 10
        clock.now += 0.1
        test.streams[A] += round(mbps * 12_500)
    return None


def test_who_takes_next_to_nothing_is_cut_and_no_unit_is_however_slow_its_line() -> None:
    assert _cut_after_s(0.013) == pytest.approx(20, abs=0.3)
    assert _cut_after_s(0.013, burst_bytes=10**7) == pytest.approx(20, abs=0.3), "what fills the buffers buys nothing"
    assert _cut_after_s(0) == pytest.approx(20, abs=0.3)
    assert _cut_after_s(0.6) == _cut_after_s(300) == pytest.approx(60, abs=0.3)
    assert ServerLimits().slow_s * 2 > TestSpec("").max_total_s + 2, "a unit has ended its test before"


def test_a_line_that_stalls_for_seconds_is_not_cut() -> None:
    clock = Clock()
    admission = Admission(1, 0, ServerLimits(), clock=clock)
    test = admission.enter(ONE, A)
    assert test
    for second in range(59):
        clock.now += 1
        test.streams[A] += 0 if second % 10 < 7 else 250_000  # 2 Mb/s
        assert admission.cut_overdue() == []


def test_a_client_that_was_cut_comes_back_after_the_grace() -> None:
    clock = Clock()
    admission = Admission(1, 0, ServerLimits(test_s=5), clock=clock)
    test = admission.enter(ONE, A)
    assert test
    clock.now += 5
    assert admission.cut_overdue() == [A]
    assert admission.cut_overdue() == []
    admission.leave(test, A)
    assert admission.enter(ONE, A) is None
    clock.now += 2
    assert admission.remove_ended() == [test]
    assert admission.enter(ONE, A)


def test_strangers_leave_half_of_the_slots_to_units_and_one_source_some_to_others() -> None:
    slots = RequestSlots(ServerLimits(requests=8, requests_each=3), has_permissions=True)
    assert [slots.enter("192.0.2.1", None) for _ in range(4)] == [True, True, True, False]
    assert [slots.enter("192.0.2.2", None) for _ in range(2)] == [True, False]
    assert [slots.enter("192.0.2.1", "nd-1") for _ in range(4)] == [True, True, True, False]
    assert slots.enter("192.0.2.1", "nd-2")
    slots.leave("192.0.2.1", None)
    assert slots.enter("192.0.2.3", None)


def test_bytes_are_counted_by_source_and_day_in_a_table_that_has_an_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("measurement_server.day_bytes.MAX_SOURCES", 2)
    days = [dt.datetime(2026, 11, 30, tzinfo=dt.UTC)]
    counts = DayBytes(lambda: days[-1])
    assert [counts.add("192.0.2.1", n) for n in (5, 7)] == [5, 12]
    assert counts.add("192.0.2.2", 1) == 1
    assert [counts.add(f"198.51.100.{n}", 10) for n in (1, 2)] == [10, 20], "counted together"
    days.append(dt.datetime(2026, 12, 1, tzinfo=dt.UTC))
    assert counts.add("192.0.2.1", 3) == 3
    [ended] = [vars(record)["fields"] for record in caplog.records]
    assert (ended["day"], ended["bytes"], ended["most"]) == ("2026-11-30", 33, "others=20 192.0.2.1=12 192.0.2.2=1")


def test_a_source_is_an_address_or_the_network_of_one() -> None:
    assert source_of("192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8:1:2:a::1") == source_of("2001:db8:1:2:b::2") == "2001:db8:1:2::/64"


def at(seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


@pytest.fixture
def verifier(tmp_path: Path) -> PermissionVerifier:
    (tmp_path / "key.pub").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return PermissionVerifier(tmp_path / "key.pub", lambda: at(1000))


def permission(unit: str = "nd-1", expires_at: int = 1001, key: Ed25519PrivateKey = KEY) -> str:
    return to_permission_text(unit, expires_at, key.sign(signed_bytes(unit, expires_at)))


def shown(authorization: str) -> bytes:
    return f"GET /garbage.php HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode()


def test_a_permission_names_its_unit_until_it_expires(verifier: PermissionVerifier) -> None:
    text = permission()
    assert [verifier.unit_of(shown(f"Bearer {text}")) for _ in range(2)] == ["nd-1"] * 2
    assert verifier.unit_of(shown(f"bearer   {text} ")) == "nd-1"
    verifier._now = lambda: at(1001)
    assert verifier.unit_of(shown(f"Bearer {text}")) is None


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer ",
        "Basic b3BlcmF0b3I6cmlnaHQ=",
        "Bearer the-operators-token",
        f"Bearer {permission(expires_at=1000)}",
        f"Bearer {permission(key=Ed25519PrivateKey.generate())}",
        f"Bearer {permission().replace('nd-1', 'nd-2')}",
        f"Bearer {permission().replace('1001', '9999')}",
        f"Bearer {permission()}x",
        f"Bearer {permission('ND-1')}",
        f"Bearer {permission()[:-1]}",
    ],
)
def test_whoever_shows_something_else_is_a_stranger(verifier: PermissionVerifier, authorization: str) -> None:
    assert verifier.unit_of(shown(authorization)) is None


def test_a_permission_in_another_field_counts_for_nothing(verifier: PermissionVerifier) -> None:
    head = f"GET /?Authorization: Bearer {permission()} HTTP/1.1\r\nX-Authorization: Bearer {permission()}\r\n\r\n"
    assert verifier.unit_of(head.encode()) is None


def test_what_is_remembered_of_permissions_has_an_end(
    verifier: PermissionVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("measurement_server.permissions.MAX_KNOWN", 3)
    for number in range(9):
        assert verifier.unit_of(shown(f"Bearer {permission(f'nd-{number}')}")) == f"nd-{number}"
    assert len(verifier._units) == 3


def test_a_file_without_such_a_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyFileError, match="key: no public key"):
        PermissionVerifier(tmp_path / "key", lambda: at(1000))


def test_refused_clients_come_back_at_different_times() -> None:
    assert {retry_after_s() for _ in range(1000)} == set(range(5, 16))


@pytest.mark.parametrize(
    ("target", "size"),
    [
        ("/garbage.php", 4 * 2**20),
        ("/garbage.php?r=0.123&ckSize=1", 2**20),
        ("/backend/garbage.php?cors=true&r=0.5&ckSize=100", 100 * 2**20),
        ("/garbage.php?ckSize=1024", 2**30),
        ("/garbage.php?ckSize=5000", 2**30),
        ("/speedtest/random350x350.jpg?x=1.0", 245_388),
        ("http://127.0.0.1:80//speedtest/random500x500.jpg", 505_544),  # `--mini` of an address with a slash at its end
        ("/speedtest/random4000x4000.jpg", 31_625_365),
        ("http://anywhere.example/speedtest/random1000x1000.jpg?x=1", 1_986_284),
    ],
)
def test_payloads_have_the_length_that_the_path_names(target: str, size: int) -> None:
    route = find_route(target)
    assert (route.answer, route.payload_bytes) == (AnswerKind.PAYLOAD, size)


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "four", "", "1e3", "9" * 5000, "٤"])
def test_a_chunk_size_that_is_no_number_is_refused_with_what_is_allowed(value: str) -> None:
    with pytest.raises(BadRequestError, match="from 1 to 1024"):
        find_route(f"/garbage.php?ckSize={value}")


@pytest.mark.parametrize("target", ["http://[", "/empty.php?" + "&".join(f"q{i}=1" for i in range(40))])
def test_an_address_that_cannot_be_read_is_refused(target: str) -> None:
    with pytest.raises(BadRequestError):
        find_route(target)


@pytest.mark.parametrize(
    "target",
    [
        "/index.html",
        "/garbage.php/more",
        "/../empty.php",
        "/speedtest/random350x500.jpg",
        "/speedtest/random351x351.jpg",
        "http://127.0.0.1:8086/query?q=x",
        "www.speedtest.net:443",
        "*",
    ],
)
def test_other_paths_are_unknown_whatever_host_is_named(target: str) -> None:
    with pytest.raises(UnknownPathError):
        find_route(target)


def _body(raw: bytes, fields: Iterable[tuple[str, str]]) -> tuple[io.BufferedIOBase, Message]:
    headers = Message()
    for name, value in fields:
        headers[name] = value
    return io.BufferedReader(io.BytesIO(raw)), headers  # type: ignore[arg-type,unused-ignore]


@pytest.mark.parametrize(
    ("raw", "fields", "length"),
    [
        (b"NEXT", [], 0),
        (b"abcNEXT", [("Content-Length", "3")], 3),
        (b"3\r\nabc\r\n0a;x=y\r\n0123456789\r\n0\r\n\r\nNEXT", [("Transfer-Encoding", "chunked")], 13),
        (b"1\r\na\r\n0\r\nTrailer: 1\r\n\r\nNEXT", [("Transfer-Encoding", "Chunked")], 1),
    ],
)
def test_a_body_is_read_to_its_end_and_no_further(raw: bytes, fields: list[tuple[str, str]], length: int) -> None:
    stream, headers = _body(raw, fields)
    assert discard_body(stream, headers, lambda: None) == length
    assert stream.read() == b"NEXT"


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", [("Content-Length", "-1")]),
        (b"", [("Content-Length", "9" * 400)]),
        (b"", [("Content-Length", "3"), ("Content-Length", "4")]),
        (b"0\r\n\r\n", [("Content-Length", "3"), ("Transfer-Encoding", "chunked")]),
        (b"", [("Transfer-Encoding", "gzip")]),
        (b"xyz\r\n", [("Transfer-Encoding", "chunked")]),
        (b"3\r\nabcdef\r\n", [("Transfer-Encoding", "chunked")]),
        (b"1" * 300, [("Transfer-Encoding", "chunked")]),
        (b"0\r\n" + b"a: b\r\n" * 20, [("Transfer-Encoding", "chunked")]),
    ],
)
def test_a_body_whose_end_cannot_be_found_is_refused(raw: bytes, fields: list[tuple[str, str]]) -> None:
    with pytest.raises(BodyError, match="allowed"):
        discard_body(*_body(raw, fields), lambda: None)


def test_a_client_that_closes_within_its_body_is_gone() -> None:
    with pytest.raises(ConnectionError):
        discard_body(*_body(b"abc", [("Content-Length", "4")]), lambda: None)
