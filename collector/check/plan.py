"""Which checks there are of the server, in which order, and how long each may take."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from collector.check import files, parts
from collector.check.alerts import alerts
from collector.check.backup_age import backup
from collector.settings import CollectorSettings
from xomnet.check.broker import BrokerRemedies, check_broker
from xomnet.check.deadline import run_limited
from xomnet.check.finding import Finding, ok, say
from xomnet.targets import Targets

QUICK_S, BROKER_S, STORE_S, ALERTS_S = 10.0, 30.0, 30.0, 60.0
NAME = "collector"
"""In the certificate: whom the broker's rules let read every unit's results."""
SERVER = BrokerRemedies(
    file="collector.yaml",
    wrong_name=say(
        "set broker.tls in collector.yaml to the certificate named collector, the name in the broker's rules"
    ),
    unreadable=say("check the paths of broker.tls in collector.yaml, and the key: owner xomnet, mode 600"),
    mismatch=say("issue a new key and certificate: ansible-playbook renew.yml"),
    own_expires=say("ansible-playbook renew.yml"),
    refused=say("revoked, or issued by another authority: ansible-playbook renew.yml; systemctl status mosquitto"),
    not_listening=say("check broker.port in collector.yaml; systemctl status mosquitto"),
    unknown_host=say("check broker.host in collector.yaml, and DNS"),
    no_answer=say("check broker.host in collector.yaml, and that no firewall blocks the port"),
    broker_expires=say("ansible-playbook renew.yml"),
)


def findings(settings: CollectorSettings, targets: Targets, file: Path, now: dt.datetime) -> Iterator[Finding]:
    """All rows. Nothing is stored, nothing sent, and a collector that runs goes on as it did."""
    yield ok("settings", say("{path}", path=str(file)))
    yield from run_limited("targets", lambda: files.targets_today(targets, now), QUICK_S)
    yield from run_limited("registry", lambda: files.registry(settings.registry, targets, now), STORE_S)
    yield from run_limited("state", lambda: files.state(settings.state_dir), STORE_S)
    yield from run_limited("store", lambda: parts.store(settings), STORE_S)
    kept = settings.archive_folder, settings.archive.max_gb
    yield from run_limited("archive", lambda: files.archive(*kept, now), STORE_S)
    yield from run_limited("broker", lambda: check_broker(settings.broker, NAME, SERVER, now), BROKER_S)
    yield from run_limited("collector", lambda: parts.check_collector(settings.web), STORE_S)
    yield from run_limited("alerts", lambda: alerts(settings, targets, now), ALERTS_S)
    yield from run_limited("operator", lambda: files.operator(settings.web.operator_token_file), QUICK_S)
    yield from run_limited("permissions", lambda: files.permissions(settings.permission_key), QUICK_S)
    yield from run_limited("backup", lambda: backup(settings.backup_stamp, now), QUICK_S)
