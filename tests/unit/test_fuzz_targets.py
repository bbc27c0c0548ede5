"""What `make fuzz` runs holds for its seeds, whole and cut off; and sees what is wrong."""

import pytest

from agent.net import dns_message
from tests.fuzz import targets
from tests.fuzz.targets import TARGETS


def cut_off(seed: bytes) -> list[bytes]:
    return [seed[:end] for end in {*range(0, len(seed), max(1, len(seed) // 40)), len(seed)}]


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_do_no_harm(name: str) -> None:
    for seed in TARGETS[name].seeds:
        for data in cut_off(seed):
            TARGETS[name].run(data)


def test_the_seeds_reach_what_is_fuzzed() -> None:
    first, second, *_ = TARGETS["dns"].seeds
    assert dns_message.parse_answer(first, targets.QUESTION) == dns_message.DnsAnswer(0, addresses=("192.0.2.1",))
    assert dns_message.parse_answer(second, targets.QUESTION_6) == dns_message.DnsAnswer(0, addresses=("2001:db8::1",))
    for seed in TARGETS["http_request"].seeds:
        found = list(targets.answers(seed))
        assert found
        assert all(answer.startswith(b"HTTP/1.1 20") for answer in found), seed


def test_a_parser_that_is_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.inet_ntop", lambda *_: "no address")
    with pytest.raises(ValueError, match="no address"):
        TARGETS["dns"].run(TARGETS["dns"].seeds[0])
