"""A copied card: it gets no second identity by renewal, and the operator hears of two machines under one name."""

import datetime as dt
import uuid
from pathlib import Path

import pytest

from collector.ingest.duplicate_units import DuplicateUnits
from collector.pki.ledger import Entry
from collector.store.points import Point, Value, time_ns
from tests.integration import test_enrol
from tests.integration.test_alerts import Hook
from tests.integration.test_enrol import UNIT, Door, key_of
from tests.support.deployment import Collector, made, plain, until
from tests.support.role_broker import THIEF, RoleBroker, RoleClient, broker, handshake, issue, now
from tests.support.sender import ROWS, Sender, result
from tests.support.services import Mosquitto
from tests.unit.test_authority import csr, key

__all__ = ["broker"]  # a fixture

door = test_enrol.door


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


def test_the_broker_takes_the_new_key_and_no_longer_the_old_one(broker: RoleBroker) -> None:
    old = made_copy(broker.folder, THIEF)
    issue(broker.authority, broker.folder, THIEF, "unit")
    broker.publish_revocations()
    unit = RoleClient(broker, THIEF)
    try:
        assert unit.publish(f"xomnet/v1/{THIEF}/up") == "No matching subscribers"
    finally:
        unit.close()
    for name, content in old.items():
        (broker.folder / name).write_bytes(content)
    with pytest.raises(OSError, match="revoked"):
        handshake(broker, THIEF)


def made_copy(folder: Path, name: str) -> dict[str, bytes]:
    return {f"{name}.{kind}": (folder / f"{name}.{kind}").read_bytes() for kind in ("crt", "key")}


A, B, C = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
MINUTE = dt.timedelta(minutes=1)
START = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


class Watch:
    """What `DuplicateUnits` finds in results that come at some minutes."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.now = START
        self.units = DuplicateUnits(self.found.append, lambda: self.now)

    def hear(self, spool: str, minute: float, measured: float | None = None, agent: str = UNIT, **fields: Value) -> int:
        """The number of units that were found by then."""
        self.now = START + minute * MINUTE
        at = START + (minute if measured is None else measured) * MINUTE
        known: dict[str, Value] = {"spool": spool, "seq": 1, "clock": "synced", **fields}
        self.units.on_stored([Point("health", {"agent": agent}, known, time_ns(at))])
        return len(self.found)


def test_results_from_two_spools_in_turns_are_two_machines_once_a_day() -> None:
    watch = Watch()
    for minute in range(0, 25 * 60, 5):
        for agent in (UNIT, "nd-other-0001"):
            watch.hear(A, minute, agent=agent)
        watch.hear(B, minute + 2)
        assert watch.found == [UNIT] * (0 if minute < 5 else 1 if minute < 24 * 60 + 5 else 2)


def test_one_machine_whose_spool_is_replaced_sends_late_or_has_no_clock_is_one() -> None:
    watch = Watch()
    for minute in range(30):  # a new spool every ten minutes, the first of them damaged
        watch.hear((A, B, C)[minute // 10], minute)
    for minute in range(30, 60):  # what waited in the old ones goes out between the new results
        watch.hear(C, minute)
        watch.hear((A, B)[minute % 2], minute, measured=minute - 29)
        watch.hear((A, B)[minute % 2], minute, clock="estimated")
        watch.hear((A, B)[minute % 2], minute, measured=minute + 60 * 12)  # a clock that is wrong
    assert watch.found == []


def test_a_unit_that_was_taken_over_says_so_itself() -> None:
    watch = Watch()
    assert watch.hear(A, 0, name="started") == 0
    assert watch.hear(A, 1, measured=-60 * 24 * 3, name="session_taken_over") == 0  # long over
    assert watch.hear(A, 1, measured=-600, name="session_taken_over") == 1


def test_the_operator_hears_of_two_machines_once_and_in_vietnamese(tmp_path: Path, mosquitto: Mosquitto) -> None:
    hook = Hook()
    folder = made(tmp_path, "collector")
    (folder / "urls.yaml").write_text(f"- url: json://127.0.0.1:{hook.port}/\n")
    (folder / "urls.yaml").chmod(0o600)
    notify = {"urls_file": "urls.yaml", "digest_at": "never"}
    try:
        with Collector(folder, plain(mosquitto), ROWS, notify=notify) as collector:
            until(lambda: collector.health()["broker"] == "ok", "it is connected")
            sender = Sender(mosquitto.port)
            for seq in range(1, 9):
                sender.send(result(seq, spool=(A, B)[seq % 2]))
            until(lambda: hook.posted, "the message comes")
            until(lambda: sender.stored() == set(range(1, 9)), "everything is stored all the same")
            sender.close()
        (posted,) = hook.posted
    finally:
        hook.stop()
    assert posted["title"] == "⚠ HAI MÁY DÙNG CHUNG MỘT TÊN · Xóm 5, Hải Minh (Hải Hậu, Nam Định) · thiết bị đo nd-a"
    assert "thu hồi chứng thư" in posted["message"]
