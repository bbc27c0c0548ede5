"""`python -m collector.pki.broker_access`: lets into the broker whoever has a good certificate, and nobody else.

Beside a running broker it compares names and changes only what differs, over the plugin's control topic on a socket
that the broker's user alone can open; other connections stay. Then it ends what the broker stores of revoked names.
Without a running broker it writes the plugin's file, which the broker reads at its start.
"""

import argparse
import json
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from collector.pki.broker_roles import (
    ADMINISTRATOR,
    ANSWERS,
    CONTROL,
    Certificate,
    Command,
    admission,
    clients,
    document,
    removal,
    revoked_names,
)
from xomnet.runtime.atomic_file import write_atomically

ANSWER_S = 30.0
COMMANDS_A_MESSAGE = 100


class BrokerError(Exception):
    """The broker does not answer, or refuses; the text says what."""


class Listing(msgspec.Struct, frozen=True):
    """What `xomnet pki list --json` prints."""

    certificates: list[Certificate]


class ControlAnswer(msgspec.Struct, frozen=True):
    """One answer of the plugin."""

    command: str
    error: str | None = None
    data: dict[str, Any] = {}


class ControlAnswers(msgspec.Struct, frozen=True):
    """The plugin's answers to one message of commands."""

    responses: list[ControlAnswer]


class ControlConnection:
    """A connection to the broker's own socket, as its administrator. Raises OSError where nobody listens."""

    def __init__(self, path: Path, password: str, client_id: str = ADMINISTRATOR) -> None:
        self._answers: list[bytes] = []
        self._connected = self._subscribed = False
        self._refused: str | None = None
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, transport="unix"
        )
        self._client.username_pw_set(ADMINISTRATOR, password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _client, _data, message: self._answers.append(bytes(message.payload))
        self._client.connect(str(path), 1, clean_start=True)
        self._until(lambda: self._connected, "a connection")

    def run(self, commands: Iterable[Command]) -> list[ControlAnswer]:
        """The plugin's answers. Raises BrokerError."""
        if not self._subscribed:
            self._client.subscribe(ANSWERS)
            self._until(lambda: self._subscribed, "a subscription")
        self._client.publish(CONTROL, json.dumps({"commands": list(commands)}), qos=1)
        self._until(lambda: self._answers, "commands")
        return msgspec.json.decode(self._answers.pop(0), type=ControlAnswers).responses

    def names(self) -> set[str]:
        """The clients that the plugin knows, but for the administrator."""
        (answer,) = self.run([{"command": "listClients"}])
        return {*answer.data["clients"]} - {ADMINISTRATOR}

    def close(self) -> None:
        self._client.disconnect()

    def _until(self, ready: Any, what: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not ready():
            code = self._client.loop(0.1)
            if self._refused is not None or code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise BrokerError(f"the broker refuses {what}: {self._refused or paho.error_string(code)}")
            if time.monotonic() > deadline:
                raise BrokerError(f"the broker does not answer to {what} within {ANSWER_S:g} s")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._connected, self._refused = True, str(reason) if reason.is_failure else None

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self._subscribed, self._refused = True, str(reasons[0]) if reasons[0].is_failure else None


@contextmanager
def connected(path: Path, password: str, client_id: str = ADMINISTRATOR) -> Iterator[ControlConnection]:
    """Raises OSError where nobody listens, and BrokerError."""
    connection = ControlConnection(path, password, client_id)
    try:
        yield connection
    finally:
        connection.close()


def reconcile(connection: ControlConnection, wanted: set[str]) -> None:
    """Lets in who is wanted, shuts out who is not. Raises BrokerError."""
    known = connection.names()
    commands = [one for name in sorted(known - wanted) for one in removal(name)]
    commands += [one for name in sorted(wanted - known) for one in admission(name)]
    answers = [
        answer
        for begin in range(0, len(commands), COMMANDS_A_MESSAGE)
        for answer in connection.run(commands[begin : begin + COMMANDS_A_MESSAGE])
    ]
    if connection.names() != wanted:
        failed = [f"{one.command}: {one.error}" for one in answers if one.error is not None]
        raise BrokerError(f"the broker's clients are not those of the authority; {'; '.join(failed[:5])}")


def forget_session(path: Path, password: str, name: str) -> None:
    """Ends the connection and the stored session of a name: a clean start with its client id takes both over."""
    with connected(path, password, client_id=name):
        pass


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 1 not possible, with the reason."""
    options = _parser().parse_args(arguments)
    try:
        listing = msgspec.json.decode(sys.stdin.buffer.read(), type=Listing)
        password = _password(options.password)
        try:
            with connected(options.socket, password) as connection:
                reconcile(connection, clients(listing.certificates))
            for name in sorted(revoked_names(listing.certificates)):
                forget_session(options.socket, password, name)
        except (FileNotFoundError, ConnectionRefusedError):
            made = document(clients(listing.certificates), password)
            write_atomically(options.roles, json.dumps(made).encode(), 0o600)
    except (BrokerError, OSError, msgspec.DecodeError) as error:
        print(f"{options.socket}: {error}", file=sys.stderr)
        return 1
    return 0


def _password(path: Path) -> str:
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(24).encode(), 0o600)
    return path.read_text()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m collector.pki.broker_access",
        description="Let the names that have a good certificate into the broker, and nobody else.",
        epilog="Example: xomnet pki list --json | runuser -u mosquitto -- python -m collector.pki.broker_access",
    )
    folder = Path("/etc/mosquitto/xomnet")
    parser.add_argument("--roles", type=Path, default=folder / "roles.json", help="file of the plugin")
    parser.add_argument("--password", type=Path, default=folder / "administrator", help="file of its password")
    parser.add_argument("--socket", type=Path, default=Path("/run/mosquitto/control.sock"), help="broker's own socket")
    return parser


if __name__ == "__main__":
    sys.exit(main())
