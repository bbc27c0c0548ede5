"""What each name may do at the broker, in the words of Mosquitto's dynamic security plugin. Pure.

A name with a good certificate is a client of the plugin, with a role of its own. A name that the plugin does not know
may do nothing: neither publish nor receive nor subscribe.
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from xomnet.contract.topics import topic, topic_filter
from xomnet.registry.cells import BROKER_NAME_OF_COLLECTOR

Command = dict[str, Any]

ADMINISTRATOR = "administrator@localhost"
"""No certificate can have this name: a unit's has no @ in it."""
CONTROL = "$CONTROL/dynamic-security/v1"
ANSWERS = f"{CONTROL}/response"
PASSWORD_ROUNDS = 101
SHARED = "$share/collectors/"


class Certificate(Struct, frozen=True):
    """A row of `xomnet pki list --json`."""

    name: str
    kind: Literal["unit", "collector", "server"]
    state: Literal["good", "revoked", "over"]


def clients(certificates: Iterable[Certificate]) -> set[str]:
    """The names that the broker lets in: those of units and collectors with a good certificate."""
    return {one.name for one in certificates if one.kind != "server" and one.state == "good"}


def revoked_names(certificates: Iterable[Certificate]) -> set[str]:
    """The names that had a certificate revoked and have no good one."""
    certificates = list(certificates)
    return {one.name for one in certificates if one.state == "revoked"} - clients(certificates)


def document(names: Iterable[str], password: str) -> Command:
    """The plugin's file, which it reads at its start."""
    names = sorted(names)
    default = {"publishClientSend": False, "publishClientReceive": False, "subscribe": False, "unsubscribe": True}
    own = {
        "rolename": ADMINISTRATOR,
        "acls": [
            _rule("publishClientSend", CONTROL),
            _rule("publishClientReceive", ANSWERS),
            _rule("subscribeLiteral", ANSWERS),
        ],
    }
    return {
        "defaultACLAccess": default,
        "clients": [_client(ADMINISTRATOR) | _hashed(password), *map(_client, names)],
        "groups": [],
        "roles": [own, *map(_role, names)],
    }


def admission(name: str) -> list[Command]:
    """The plugin's commands that let a name in. The last one ends a connection that was there before its role."""
    return [
        {"command": "createRole", **_role(name)},
        {"command": "createClient", "username": name},
        {"command": "addClientRole", "username": name, "rolename": name, "priority": -1},
    ]


def removal(name: str) -> list[Command]:
    """The plugin's commands that shut a name out, and end its connection."""
    return [{"command": "deleteClient", "username": name}, {"command": "deleteRole", "rolename": name}]


def _role(name: str) -> Command:
    if name == BROKER_NAME_OF_COLLECTOR:
        heard = [topic_filter("up"), topic_filter("state"), topic_filter("reply")]
        said = [topic_filter("ack"), topic_filter("cmd"), topic(name, "up")]
        subscribed = [*heard, *(SHARED + one for one in heard)]
    else:
        heard = subscribed = [topic(name, "ack"), topic(name, "cmd")]
        said = [topic(name, "up"), topic(name, "state"), topic(name, "reply")]
    rules = {"publishClientSend": said, "publishClientReceive": heard, "subscribeLiteral": subscribed}
    return {"rolename": name, "acls": [_rule(kind, one) for kind, topics in rules.items() for one in topics]}


def _rule(kind: str, topic: str) -> Command:
    return {"acltype": kind, "topic": topic, "priority": 0, "allow": True}


def _client(name: str) -> Command:
    return {"username": name, "roles": [{"rolename": name}]}


def _hashed(password: str) -> Command:
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, PASSWORD_ROUNDS)
    encoded = {key: base64.b64encode(one).decode() for key, one in (("password", digest), ("salt", salt))}
    return {**encoded, "iterations": PASSWORD_ROUNDS}
