"""Wrong tokens and other sites' requests without number: who has the right token is let in all the same."""

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from collector.pki.enrolment_tokens import WrongToken
from tests.integration import test_alerts_store, test_enrol
from tests.integration.test_alerts_store import AUTHORISED, SHORT
from tests.integration.test_enrol import UNIT, Door, now
from xomnet.runtime.log import MAX_A_MINUTE

ELSEWHERE = {"Origin": "https://evil.example", "Content-Type": "text/plain", "Authorization": "Basic dmlld2VyOng="}


seeded, web, door = test_alerts_store.seeded, test_alerts_store.web, test_enrol.door


def acknowledge(web: TestClient, headers: dict[str, str]) -> int:
    return int(web.post(f"{SHORT}/acknowledge", json={"by": "Lan"}, headers=headers).status_code)


def test_the_operators_token_is_good_after_any_number_of_wrong_ones(web: TestClient) -> None:
    for _ in range(30):
        assert acknowledge(web, ELSEWHERE) == 403
    for number in range(30):
        assert acknowledge(web, {**AUTHORISED, "Authorization": f"Bearer wrong-token-{number:010}"}) == 401
    assert acknowledge(web, AUTHORISED) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "https://testserver:8443"}, 200),  # behind a proxy that leaves out the port
        ({"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"}, 200),  # a proxy with another name
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "http://testserver.evil.example"}, 403),
        ({"Origin": "http://testserver", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_page_of_another_site_changes_nothing_even_with_the_token(
    web: TestClient, headers: dict[str, str], status: int
) -> None:
    assert acknowledge(web, {**AUTHORISED, **headers}) == status


def test_type_comes_before_the_token(web: TestClient) -> None:
    wrong = {"Authorization": "Bearer wrong", "Content-Type": "text/plain"}
    assert web.post(f"{SHORT}/acknowledge", content="{}", headers=wrong).status_code == 415


def test_a_unit_is_enrolled_after_any_number_of_wrong_tokens_from_its_address(door: Door) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: door.enrol(f"guess {number}").status_code, range(80)))
    assert set(found) == {403}
    assert door.enrol(door.token()).status_code == 200
    assert door.service.output().count("no certificate given") <= MAX_A_MINUTE + 1


def test_one_connection_does_not_guess_without_end(door: Door) -> None:
    body = {"agent": UNIT, "token": "guess", "csr": ""}
    with door.client() as client:
        assert client.post("/enrol/v1/certificate", json=body).status_code == 403
        assert {client.post("/enrol/v1/certificate", json=body).status_code for _ in range(40)} == {403, 429}
    assert door.enrol(door.token()).status_code == 200


def test_a_token_has_192_bits_and_a_wrong_one_waits_for_no_writer(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca", now())
    tokens = [enrolment_tokens.make(authority, UNIT, now()) for _ in range(50)]
    assert {len(token) * math.log2(64) for token in tokens} == {192}
    assert len(set(tokens)) == 50
    with authority.ledger.change(), pytest.raises(WrongToken):  # somebody writes meanwhile
        enrolment_tokens.check(authority, UNIT, "guess", now())
