"""What comes in by a port, bounded by the firewall before the broker sees it: rate and number of connections."""

import contextlib
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.security.test_quota import FLOODS, Honest
from tests.support.deployment import Collector, made, plain, until
from tests.support.far_side import HERE, THERE, far_side, within
from tests.support.sender import ROWS
from tests.support.services import Mosquitto, free_port, program
from tests.support.thief import Flood

ROLE = Path(__file__).parents[2] / "deploy/ansible/roles/common"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
KBYTES_S = int(DEFAULTS["common_broker_kbytes_s"])
OTHERS = {"ansible_managed": "", "xomnet_ssh_from": [], "xomnet_door_port": 8443}
BUFFERS_KB = 8_000
"""What sockets hold, and what the thief counts before it is sent."""


PLACES = 20
OTHER = "198.51.100.3"


def nft(rules: str) -> None:
    subprocess.run([program("nft"), "--file", "-"], input=rules, text=True, timeout=20, check=True)


@contextlib.contextmanager
def firewall(port: int, **changes: int) -> Iterator[None]:
    """The role's rules for the broker at this port, in a table of their own, and everything else let in."""
    table = f"xomnet_{secrets.token_hex(4)}"
    template = jinja2.Template((ROLE / "templates/nftables.conf").read_text(), undefined=jinja2.StrictUndefined)
    rules = template.render({**DEFAULTS, **changes}, xomnet_broker_port=port, **OTHERS)
    nft(rules.replace("table inet xomnet", f"table inet {table}").replace("policy drop", "policy accept"))
    try:
        yield
    finally:
        nft(f"delete table inet {table}\n")


def test_one_address_does_not_take_all_places_of_the_broker(root: None) -> None:
    family, address = socket.AF_INET, (HERE, free_port())
    with far_side() as away, socket.create_server(address, family=family, backlog=200), contextlib.ExitStack() as open_:

        def connects(source: str) -> bool:
            with within(away.namespace):
                client = open_.enter_context(socket.socket(family, socket.SOCK_STREAM))
            client.settimeout(5)
            client.bind((source, 0))
            try:
                client.connect(address)
            except ConnectionRefusedError:
                return False
            return True

        add = [program("ip"), "-n", away.namespace, "address", "add", f"{OTHER}/24", "dev", f"{away.namespace}f"]
        subprocess.run(add, check=True, timeout=10)
        with firewall(address[1], common_broker_connections=PLACES):
            assert [connects(THERE) for _ in range(PLACES + 5)] == [True] * PLACES + [False] * 5
            assert connects(OTHER)


@pytest.mark.parametrize("what", ["small rubbish", "replies"])
def test_a_flood_by_a_port_is_bounded_before_the_broker_reads_it(
    root: None, tmp_path: Path, what: str, record_property: Callable[[str, object], None]
) -> None:
    play(tmp_path, what, 2.0, record_property)


@pytest.mark.attack
@pytest.mark.parametrize("what", FLOODS)
def test_a_long_flood_by_a_port_leaves_others_their_two_seconds(
    root: None, tmp_path: Path, what: str, record_property: Callable[[str, object], None]
) -> None:
    assert play(tmp_path, what, 20.0, record_property) < 2.0


def play(folder: Path, what: str, seconds: float, record_property: Callable[[str, object], None]) -> float:
    """The longest that an honest unit waited for an ack."""
    channel, payloads = FLOODS[what]
    ready = list(payloads())
    port = free_port()
    listener = f"listener {port} {HERE}\nallow_anonymous true"
    with (
        far_side() as away,
        Mosquitto(made(folder, "broker"), log="error", more=listener) as broker,
        Collector(made(folder, "collector"), plain(broker), ROWS) as collector,
    ):
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        with firewall(port):
            honest = Honest(broker.port)
            with within(away.namespace):
                thief = Flood(port, f"xomnet/v1/nd-a/{channel}", ready, per_s=1e9, host=HERE)
            with thief:
                time.sleep(seconds)
                sent_kb = thief.sent * sum(map(len, ready)) / len(ready) / 1000
            worst_s = honest.close()
        record_property("sent, kB/s", round(sent_kb / seconds))
        record_property("worst ack, s", round(worst_s, 2))
        assert sent_kb < BUFFERS_KB + 1.5 * KBYTES_S * seconds
        assert "broker away" not in collector.output(100_000)
    return worst_s
