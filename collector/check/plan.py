"""Which checks there are of the server, in which order, and how long each may take."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from collector.check import files, parts
from collector.check.alerts import alerts
from collector.settings import CollectorSettings
from xomnet.check.broker import Side, broker
from xomnet.check.deadline import limited
from xomnet.check.finding import Finding, ok, say
from xomnet.targets import Targets

QUICK_S, BROKER_S, STORE_S, ALERTS_S = 10.0, 30.0, 30.0, 60.0
NAME = "collector"
"""In the certificate: whom the broker's rules let read every unit's results."""
SERVER = Side(
    file="collector.yaml",
    name=say("set broker.tls in collector.yaml to the certificate named collector, the name in the broker's rules"),
    files=say("check the paths of broker.tls in collector.yaml, and the key: owner xomnet, mode 600"),
    fit=say("issue a new key and certificate: ansible-playbook renew.yml"),
    renew=say("ansible-playbook renew.yml"),
    reissue=say("revoked, or issued by another authority: ansible-playbook renew.yml; systemctl status mosquitto"),
    up=say("check broker.port in collector.yaml; systemctl status mosquitto"),
    found=say("check broker.host in collector.yaml, and DNS"),
    reached=say("check broker.host in collector.yaml, and that no firewall blocks the port"),
    theirs=say("ansible-playbook renew.yml"),
)


def findings(settings: CollectorSettings, targets: Targets, file: Path, now: dt.datetime) -> Iterator[Finding]:
    """All rows. Nothing is stored, nothing sent, and a collector that runs goes on as it did."""
    yield ok("settings", say("{path}", path=str(file)))
    yield from limited("targets", lambda: files.targets_today(targets, now), QUICK_S)
    yield from limited("registry", lambda: files.registry(settings.registry, targets, now), STORE_S)
    yield from limited("state", lambda: files.state(settings.state_dir), STORE_S)
    yield from limited("store", lambda: parts.store(settings), STORE_S)
    yield from limited("broker", lambda: broker(settings.broker, NAME, SERVER, now), BROKER_S)
    yield from limited("collector", lambda: parts.check_collector(settings.web), STORE_S)
    yield from limited("alerts", lambda: alerts(settings, targets, now), ALERTS_S)
    yield from limited("operator", lambda: files.operator(settings.web.operator_token_file), QUICK_S)
