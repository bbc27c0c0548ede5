"""The store that the settings name, and the collector that runs with them."""

import errno
import http.client
import os
import socket
from pathlib import Path

import msgspec

from collector.check.files import LEAST_FREE_MB, free_mb
from collector.settings import CollectorSettings, InfluxSettings, WebSettings
from collector.store.errors import StoreRefused, StoreUnavailable
from collector.store.factory import open_store
from xomnet import __version__
from xomnet.check.finding import Finding, Sentence, fail, ok, say, warn
from xomnet.check.host import reachable_host
from xomnet.runtime.secrets import SecretError

ANSWER_S = 10.0
MAX_BYTES = 65_536
NO_COLLECTOR = (TimeoutError, ConnectionResetError, BrokenPipeError)
"""Of somebody who took the connection."""
NOT_YET = "not taken yet"


def store(settings: CollectorSettings) -> Finding:
    """Whether it can be read and written; nothing is."""
    if isinstance(settings.store, InfluxSettings):
        return influx(settings)
    return sqlite(settings, settings.store.path)


def sqlite(settings: CollectorSettings, path: Path) -> Finding:
    """Opened only to read, beside the collector."""
    folder = path.parent
    if not os.path.exists(path):
        if os.path.isdir(folder) or folder == settings.state_dir:
            return ok("store", say("{path} is created at the first start", path=str(path)))
        return fail(
            "store", say("{path} does not exist", path=str(folder)), say("create the folder, with owner xomnet")
        )
    try:
        opened = open_store(settings, read_only=True)
        try:
            opened.ping()
        finally:
            opened.close()
    except StoreUnavailable as error:
        return fail("store", say("{reason}", reason=str(error)), None)
    for one in (folder, path):
        if not os.access(one, os.W_OK):
            closed = say("{path}: the service's user cannot write it", path=str(one))
            return fail("store", closed, say("chown -R xomnet {path}", path=str(one)))
    free = free_mb(folder)
    size = say("SQLite, {n} MB, {free} MB free", n=round(path.stat().st_size / 1e6, 1), free=free)
    if free < LEAST_FREE_MB:
        return fail("store", size, say("free space: df -h {path}", path=str(folder)))
    return ok("store", size)


def influx(settings: CollectorSettings) -> Finding:
    """Whether the token may read and write both buckets."""
    from collector.store.influx import InfluxStore  # noqa: PLC0415  # one of the two stores is needed

    assert isinstance(settings.store, InfluxSettings)
    try:
        opened = open_store(settings)
    except SecretError as error:
        return fail("store", say("{reason}", reason=str(error)), None)
    assert isinstance(opened, InfluxStore)
    try:
        opened.ping()
        version = opened.version()
    except StoreRefused as error:  # says what to do
        return fail("store", say("{reason}", reason=str(error)), None)
    except StoreUnavailable as error:
        up = say("check that it runs (systemctl status influxdb), and store.url in collector.yaml")
        return fail("store", say("{reason}", reason=str(error)), up)
    finally:
        opened.close()
    buckets = ", ".join(dict.fromkeys(filter(None, (settings.store.bucket, settings.store.rollups_bucket))))
    may = say("may read and write {buckets}", buckets=buckets)
    return ok("store", say("InfluxDB {version}", version=version or "?"), may)


def check_collector(web: WebSettings) -> Finding:
    """What the collector that runs says of itself; where none does, whether its port is free."""
    where = f"{web.host}:{web.port}"
    connection = http.client.HTTPConnection(reachable_host(web.host), web.port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/healthz")
        answer = msgspec.json.decode(connection.getresponse().read(MAX_BYTES), type=dict[str, str])
        state, version = answer.pop("status"), answer.pop("version")
    except (*NO_COLLECTOR, http.client.HTTPException, msgspec.DecodeError, KeyError) as error:
        other = say(
            "another program answers at {where}, or the collector hangs: {reason}",
            where=where,
            reason=_first_line(error),
        )
        return fail("collector", other, _port_remedy(web))
    except OSError:
        return check_port(web, where)
    finally:
        connection.close()
    wrong = {part: why for part, why in answer.items() if why != "ok"}
    log = say("read its log: journalctl -u xomnet-collector")
    if wrong == {"snapshot": NOT_YET}:
        return warn("collector", say("running; it judges the lines for the first time"), say("try again in a minute"))
    if state != "ok":
        return fail("collector", tuple(say("{part}: {reason}", part=part, reason=wrong[part]) for part in wrong), log)
    if version != __version__:
        older = say("running version {version}, {here} is installed", version=version, here=__version__)
        return warn("collector", older, say("systemctl restart xomnet-collector"))
    return ok("collector", say("running at {where}, no problem", where=where))


def check_port(web: WebSettings, where: str) -> Finding:
    """Nobody answers: may the port be taken?"""
    family = socket.AF_INET6 if ":" in web.host else socket.AF_INET
    try:
        with socket.socket(family) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((web.host, web.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return fail(
                "collector", say("not running, and another program uses {where}", where=where), _port_remedy(web)
            )
        reason = error.strerror or str(error)
        lost = say("{where}: {reason}", where=where, reason=reason)
        return fail("collector", lost, say("set web.host in collector.yaml to an address of this machine"))
    start = say("systemctl start xomnet-collector; then read its log: journalctl -u xomnet-collector")
    return warn("collector", say("not running; {where} is free", where=where), start)


def _port_remedy(web: WebSettings) -> Sentence:
    return say("ss -ltnp sport = :{port} finds it; stop it, or choose another web.port", port=str(web.port))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:120]
