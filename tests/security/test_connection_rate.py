"""A flood that comes in by a port as fast as it can: before the broker reads it, one connection's rate is bounded."""

import secrets
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
import yaml

from tests.security.test_quota import FLOODS, Honest
from tests.support.deployment import Collector, made, plain, until
from tests.support.far_side import HERE, far_side, within
from tests.support.sender import ROWS
from tests.support.services import Mosquitto, free_port, program
from tests.support.thief import Flood

ROLE = Path(__file__).parents[2] / "deploy/ansible/roles/common"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
KBYTES_S = int(DEFAULTS["common_broker_kbytes_s"])
OTHERS = {"ansible_managed": "", "xomnet_ssh_from": [], "xomnet_door_port": 8443}
BUFFERS_KB = 8_000
"""What sockets hold, and what the thief counts before it is sent."""


def nft(rules: str) -> None:
    subprocess.run([program("nft"), "--file", "-"], input=rules, text=True, timeout=20, check=True)


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
    port, table = free_port(), f"xomnet_{secrets.token_hex(4)}"
    template = jinja2.Template((ROLE / "templates/nftables.conf").read_text(), undefined=jinja2.StrictUndefined)
    rules = template.render(DEFAULTS, xomnet_broker_port=port, **OTHERS)
    rules = rules.replace("table inet xomnet", f"table inet {table}").replace("policy drop", "policy accept")
    listener = f"listener {port} {HERE}\nallow_anonymous true"
    with (
        far_side() as away,
        Mosquitto(made(folder, "broker"), log="error", more=listener) as broker,
        Collector(made(folder, "collector"), plain(broker), ROWS) as collector,
    ):
        until(lambda: collector.health()["broker"] == "ok", "the collector is connected")
        nft(rules)
        try:
            honest = Honest(broker.port)
            with within(away.namespace):
                thief = Flood(port, f"xomnet/v1/nd-a/{channel}", ready, per_s=1e9, host=HERE)
            with thief:
                time.sleep(seconds)
                sent_kb = thief.sent * sum(map(len, ready)) / len(ready) / 1000
            worst_s = honest.close()
        finally:
            nft(f"delete table inet {table}\n")
        record_property("sent, kB/s", round(sent_kb / seconds))
        record_property("worst ack, s", round(worst_s, 2))
        assert sent_kb < BUFFERS_KB + 1.5 * KBYTES_S * seconds
        assert "broker away" not in collector.output(100_000)
    return worst_s
