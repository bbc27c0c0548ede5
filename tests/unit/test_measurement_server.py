"""The rules of the measurement server: pace, places, paths, bodies."""

import io
from collections.abc import Iterable
from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measurement_server.admission import Admission, ServedClient, retry_after_s
from measurement_server.body import BodyError, discard_body
from measurement_server.pacing import SLACK_S, Pacer
from measurement_server.routes import AnswerKind, BadRequestError, UnknownPathError, find_route

ONE, TWO, THREE = (ServedClient("test", name) for name in ("one", "two", "three"))


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
    admission = Admission(max_tests=2, rate_mbps=0, grace_s=2, clock=Clock())
    assert admission.enter(ONE)
    assert admission.enter(TWO)
    assert admission.enter(THREE) is None
    assert admission.enter(ONE)


def test_a_place_is_kept_for_the_grace_and_then_free() -> None:
    clock = Clock()
    admission = Admission(max_tests=1, rate_mbps=0, grace_s=2, clock=clock)
    first = admission.enter(ONE)
    assert first
    admission.leave(first, 100)
    clock.now += 1.9
    assert admission.enter(TWO) is None
    assert admission.enter(ONE) is first
    clock.now += 60
    assert admission.enter(TWO) is None, "a stream runs"
    admission.leave(first, 200)
    clock.now += 2
    assert admission.enter(TWO)


def test_a_test_that_is_over_is_reported_once_with_all_its_bytes() -> None:
    clock = Clock()
    admission = Admission(max_tests=1, rate_mbps=50, grace_s=2, clock=clock)
    streams = [admission.enter(ONE), admission.enter(ONE)]
    for number, test in enumerate(streams):
        assert test
        clock.now += 3
        admission.leave(test, 100 + number)
    assert admission.remove_ended() == []
    clock.now += 2
    [over] = admission.remove_ended()
    assert (over.client, over.bytes, over.ended_at - over.began_at) == (ONE, 201, 6)
    assert admission.remove_ended() == []


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
