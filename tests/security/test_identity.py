"""A copied card: it gets no second identity by renewal, and the operator hears of two machines under one name."""

from pathlib import Path

import pytest

from collector.pki.authority import Authority
from collector.pki.ledger import Entry
from tests.integration import test_enrol, test_revocation
from tests.integration.test_enrol import UNIT, Door, key_of
from tests.integration.test_revocation import THIEF, Broker, Unit, issue, now, publish_revocations
from tests.unit.test_authority import csr, key

door, authority, broker = test_enrol.door, test_revocation.authority, test_revocation.broker


def good(door: Door, name: str = UNIT) -> list[Entry]:
    return [one for one in door.authority.certificates() if one.name == name and one.good(now())]


def test_a_copied_card_can_not_renew_with_a_key_of_its_own(door: Door) -> None:
    files = door.holder()
    with door.client(files) as client:
        refused = client.post("/enrol/v1/renew", json={"csr": csr(UNIT).decode()})
        kept = client.post("/enrol/v1/renew", json={"csr": csr(UNIT, of=key_of(files)).decode()})
    assert (refused.status_code, f"xomnet pki token {UNIT}" in refused.json()["error"]) == (400, True)
    assert kept.status_code == 200
    assert len({one.key for one in good(door)}) == 1


def test_a_renewal_whose_answer_was_lost_gives_the_same_certificate_again(door: Door) -> None:
    files = door.holder()
    request = {"csr": csr(UNIT, of=key_of(files)).decode()}
    with door.client(files) as client:
        answers = [client.post("/enrol/v1/renew", json=request).json()["certificate"] for _ in range(5)]
    assert len(set(answers)) == 1
    assert len(good(door)) == 2
    files[0].write_text(answers[0])
    with door.client(files) as client:
        assert client.post("/enrol/v1/renew", json=request).json()["certificate"] != answers[0]


def test_a_new_key_comes_by_a_token_and_ends_the_old_one_even_if_the_answer_is_lost(door: Door) -> None:
    old, mine = door.holder(), key()
    token, request = door.token(), csr(UNIT, of=mine)
    first = door.enrol(token, request)
    again = door.enrol(token, request)
    assert (first.status_code, again.json()) == (200, first.json())
    assert [one.pem for one in good(door)] == [first.json()["certificate"]]
    with door.client(old) as client:
        renewed = client.post("/enrol/v1/renew", json={"csr": csr(UNIT, of=key_of(old)).decode()})
    assert renewed.status_code == 403


def test_the_broker_takes_the_new_key_and_no_longer_the_old_one(
    tmp_path: Path, authority: Authority, broker: Broker
) -> None:
    old = made_copy(broker.folder, THIEF)
    issue(authority, broker.folder, THIEF, "unit")
    publish_revocations(authority, broker, tmp_path / "tools")
    unit = Unit(broker, THIEF)
    try:
        assert unit.publish(f"xomnet/v1/{THIEF}/up") == "No matching subscribers"
    finally:
        unit.close()
    for name, content in old.items():
        (broker.folder / name).write_bytes(content)
    with pytest.raises(OSError, match="revoked"):
        test_revocation._handshake(broker, THIEF)


def made_copy(folder: Path, name: str) -> dict[str, bytes]:
    return {f"{name}.{kind}": (folder / f"{name}.{kind}").read_bytes() for kind in ("crt", "key")}
