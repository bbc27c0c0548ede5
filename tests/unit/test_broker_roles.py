"""Who is let into the broker, and what each name may do there."""

import json

import pytest

from collector.pki.broker_roles import (
    ADMINISTRATOR,
    Certificate,
    admission,
    clients,
    document,
    removal,
    revoked_names,
)
from xomnet.contract.topics import is_name

GOOD = Certificate("nd-0001", "unit", "good")
REVOKED = Certificate("nd-0001", "unit", "revoked")


@pytest.mark.parametrize(
    ("certificates", "let_in", "revoked"),
    [
        ([], set(), set()),
        ([GOOD], {"nd-0001"}, set()),
        ([REVOKED], set(), {"nd-0001"}),
        ([REVOKED, GOOD], {"nd-0001"}, set()),  # a successor
        ([Certificate("nd-0001", "unit", "over")], set(), set()),
        ([Certificate("xomnet.example.vn", "server", "good")], set(), set()),
        ([Certificate("collector", "collector", "good")], {"collector"}, set()),
    ],
)
def test_a_name_with_a_good_certificate_is_let_in(
    certificates: list[Certificate], let_in: set[str], revoked: set[str]
) -> None:
    assert (clients(certificates), revoked_names(certificates)) == (let_in, revoked)


def test_the_broker_is_told_the_same_by_its_file_and_by_commands() -> None:
    made = document({"nd-0001", "collector"}, "secret")
    roles = {one["rolename"]: one["acls"] for one in made["roles"]}
    for name in ("nd-0001", "collector"):
        role, client, granted = admission(name)
        assert role == {"command": "createRole", "rolename": name, "acls": roles[name]}
        assert (client["username"], granted["username"], granted["rolename"]) == (name, name, name)
        assert [one["command"] for one in removal(name)] == ["deleteClient", "deleteRole"]
    assert {one["username"] for one in made["clients"]} == {ADMINISTRATOR, "collector", "nd-0001"}
    assert "secret" not in json.dumps(made)


def test_what_is_not_granted_is_denied_and_only_the_administrator_has_a_password() -> None:
    made = document({"nd-0001"}, "secret")
    assert made["defaultACLAccess"] == {
        "publishClientSend": False,
        "publishClientReceive": False,
        "subscribe": False,
        "unsubscribe": True,
    }
    assert [one["username"] for one in made["clients"] if "password" in one] == [ADMINISTRATOR]
    assert not is_name(ADMINISTRATOR)


def test_a_unit_has_its_own_topics_and_no_pattern() -> None:
    (_, role) = document({"nd-0001"}, "secret")["roles"]
    topics = {(one["acltype"], one["topic"]) for one in role["acls"]}
    assert topics == {
        ("publishClientSend", "xomnet/v1/nd-0001/up"),
        ("publishClientSend", "xomnet/v1/nd-0001/state"),
        ("publishClientSend", "xomnet/v1/nd-0001/reply"),
        ("publishClientReceive", "xomnet/v1/nd-0001/ack"),
        ("publishClientReceive", "xomnet/v1/nd-0001/cmd"),
        ("subscribeLiteral", "xomnet/v1/nd-0001/ack"),
        ("subscribeLiteral", "xomnet/v1/nd-0001/cmd"),
    }
