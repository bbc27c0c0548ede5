"""Certificates through the units' door: the real nginx with the settings of the deployment, the real service."""

import datetime as dt
import re
import signal
import socket
import ssl
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx
import jinja2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from collector.pki import enrolment_tokens
from collector.pki.authority import Authority
from tests.support.deployment import HEADER, made
from tests.support.services import Nginx, Process, free_port
from tests.unit.test_authority import csr, key

UNIT = "nd-haihau-0012"
ROLES = Path(__file__).parents[2] / "deploy/ansible/roles"
OF_DEBIAN = "ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;\n"
"""What stands in its nginx.conf, to which a line of ours in the same place would only add."""
ROW = f"{UNIT},ftth,fixed,Xóm 5,Nam Định/Hải Hậu,VNPT,2026-01-01\n"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Enrolment(Process):
    """`python -m collector.pki`."""

    def __init__(self, folder: Path, authority: Authority, registry: Path) -> None:
        port = free_port()
        places = ["--ca", str(authority.folder), "--registry", str(registry)]
        super().__init__(folder, [sys.executable, "-m", "collector.pki", *places, "--port", str(port)], port)


def rendered(template: str, **values: object) -> str:
    """What Ansible makes of a template of the roles."""
    text = (ROLES / template).read_text()
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text).render(ansible_managed="", **values)


def settings_of_nginx(folder: Path, door: int, page: int, service: int) -> str:
    """What the role writes, with this test's ports and folders."""
    text = rendered("nginx/templates/xomnet.conf", xomnet_page_certificate="", xomnet_door_port=door)
    ports = {"80": free_port(), "443": page, str(door): door}
    text = re.sub(r" *listen \[::\].*\n", "", text)
    text = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{ports[found[1]]}", text)
    text = text.replace("http://unix:/run/xomnet-enrol.sock", f"http://127.0.0.1:{service}")
    text = text.replace("/etc/nginx/xomnet/", f"{folder}/")
    return text.replace("/var/lib/xomnet-releases/", f"{folder}/releases/")


@dataclass
class Door:
    """The units' door; `client` opens it with a certificate or without."""

    authority: Authority
    service: Enrolment
    nginx: Nginx
    port: int
    page: int
    folder: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self, certificate: tuple[Path, Path] | None = None) -> httpx.Client:
        trust = ssl.create_default_context(cafile=self.authority.folder / "ca.crt")
        if certificate:
            trust.load_cert_chain(*certificate)
        return httpx.Client(verify=trust, base_url=self.url, timeout=20)

    def token(self, unit: str = UNIT) -> str:
        return enrolment_tokens.make(self.authority, unit, now())

    def enrol(self, token: str, request: bytes | None = None, agent: str = UNIT) -> httpx.Response:
        body = {"agent": agent, "token": token, "csr": (request or csr(agent)).decode()}
        with self.client() as client:
            return client.post("/enrol/v1/certificate", json=body)

    def holder(self, unit: str = UNIT) -> tuple[Path, Path]:
        """A certificate and its key, as files of a unit."""
        mine = key()
        files = self.folder / f"{unit}.crt", self.folder / f"{unit}.key"
        files[0].write_text(self.authority.sign(csr(unit, of=mine), unit, "unit", now()).pem)
        files[1].write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


def key_of(files: tuple[Path, Path]) -> ec.EllipticCurvePrivateKey:
    found = load_pem_private_key(files[1].read_bytes(), None)
    assert isinstance(found, ec.EllipticCurvePrivateKey)
    return found


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    def with_debian(folder: Path, settings: str) -> Nginx:
        return Nginx(folder, "return 404;", OF_DEBIAN + settings)

    with open_door(tmp_path, ROW, with_debian) as door:
        yield door


@contextmanager
def open_door(tmp_path: Path, rows: str, front: Callable[[Path, str], Nginx]) -> Iterator[Door]:
    """The service and `front`, an nginx with the settings of the role."""
    authority = Authority.make(tmp_path / "ca", now())
    registry = tmp_path / "lines.csv"
    registry.write_text(HEADER + rows, encoding="utf-8")
    folder = made(tmp_path, "nginx")
    mine = key()
    (folder / "server.key").write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "server.crt").write_text(authority.sign(csr("localhost", of=mine), "localhost", "server", now()).pem)
    for name in ("ca.crt", "ca.crl"):
        (folder / name).write_bytes((authority.folder / name).read_bytes())
    (folder / "people").write_text("operator:{PLAIN}right\n")
    (folder / "operator").write_text(rendered("nginx/templates/operator", xomnet_operator_token="The-Operators.token"))
    made(folder, "releases")
    (folder / "releases/manifest.json").write_text("{}")
    door_port, page = free_port(), free_port()
    with Enrolment(made(tmp_path, "service"), authority, registry) as service:
        settings = settings_of_nginx(folder, door_port, page, service.port)
        with front(folder, settings) as nginx:
            yield Door(authority, service, nginx, door_port, page, tmp_path)


def test_a_token_gives_a_certificate_once_and_the_log_names_it_not(door: Door) -> None:
    token = door.token()
    given = door.enrol(token)
    assert given.status_code == 200
    certificate = x509.load_pem_x509_certificate(given.json()["certificate"].encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(given.json()["ca"].encode()))
    assert certificate.subject.rfc4514_string() == f"CN={UNIT}"
    again = door.enrol(token)
    assert (again.status_code, again.json().keys()) == (403, {"error"})
    log = door.service.output()
    assert "event=enrolled" in log
    assert 'event="no certificate given"' in log
    assert token not in log


def test_of_many_who_come_with_one_token_at_once_one_gets_a_certificate(door: Door) -> None:
    token, requests = door.token(), [csr(UNIT) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = sorted(one.status_code for one in pool.map(lambda request: door.enrol(token, request), requests))
    assert found == [200] + [403] * 7
    assert len(door.authority.certificates()) == 2  # the server's and this one


def test_who_has_no_row_in_the_registry_is_told_so_and_only_with_a_right_token(door: Door) -> None:
    stranger = "nd-giaothuy-0001"
    known = door.enrol(door.token(stranger), agent=stranger)
    assert (known.status_code, "not in the server's registry" in known.json()["error"]) == (400, True)
    assert door.enrol("wrong", agent=stranger).json() == door.enrol("wrong").json()


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{}", 400), (b"\xff", 400), (b"[" * 10_000, 400), (b'{"agent": "' + b"x" * 20_000 + b'"}', 413)],
)
def test_a_body_that_is_something_else_is_refused(door: Door, content: bytes, status: int) -> None:
    with door.client() as client:
        assert client.post("/enrol/v1/certificate", content=content).status_code == status


def test_a_certificate_is_renewed_for_its_own_name_only(door: Door) -> None:
    files = door.holder()
    with door.client(files) as client:
        renewed = client.post("/enrol/v1/renew", json={"csr": csr(UNIT, of=key_of(files)).decode()})
        other = client.post("/enrol/v1/renew", json={"csr": csr("nd-giaothuy-0001").decode()})
    assert renewed.status_code == 200
    assert [one.name for one in door.authority.certificates() if one.kind == "unit"] == [UNIT] * 2
    assert (other.status_code, f"not for {UNIT}" in other.json()["error"]) == (400, True)


def test_headers_that_the_client_makes_up_count_for_nothing(door: Door) -> None:
    shown = door.holder()[0].read_text()
    forged = {"X-Client-Verify": "SUCCESS", "X-Client-Cert": quote(shown)}
    with door.client() as client:
        assert client.post("/enrol/v1/renew", json={"csr": csr(UNIT).decode()}, headers=forged).status_code == 403


def test_a_revoked_certificate_is_not_renewed(door: Door) -> None:
    files = door.holder()
    door.authority.revoke(UNIT, now())
    with door.client(files) as client:  # nginx has not read the list yet; the service asks the ledger
        assert client.post("/enrol/v1/renew", json={"csr": csr(UNIT).decode()}).status_code == 403
    (door.folder / "nginx/ca.crl").write_bytes((door.authority.folder / "ca.crl").read_bytes())
    door.nginx.restart()
    with door.client(files) as client:
        assert client.post("/enrol/v1/renew", json={"csr": csr(UNIT).decode()}).status_code == 400


def test_releases_are_for_who_has_a_certificate(door: Door) -> None:
    with door.client() as client:
        assert client.get("/releases/v1/manifest.json").status_code == 403
    with door.client(door.holder()) as client:
        assert client.get("/releases/v1/manifest.json").text == "{}"
        assert client.get("/releases/v1/../../ca.key").status_code == 404
        assert client.get("/anything").status_code == 404


def test_the_page_wants_a_login_or_the_operators_token(door: Door) -> None:
    trust = ssl.create_default_context(cafile=door.authority.folder / "ca.crt")
    with httpx.Client(verify=trust, base_url=f"https://localhost:{door.page}", timeout=20) as client:
        bearer = {"Authorization": "Bearer The-Operators.token"}
        assert client.get("/").status_code == 401
        assert client.get("/", headers={"Authorization": "Bearer another"}).status_code == 401
        assert client.get("/", auth=("operator", "wrong")).status_code == 401
        assert client.get("/", auth=("operator", "right")).status_code == 502  # let in: no collector runs here
        assert client.get("/", headers=bearer).status_code == 502
        for near in (
            "Bearer the-operators.token",
            "bearer The-Operators.token",
            "Bearer The-OperatorsXtoken",
        ):
            assert client.get("/", headers={"Authorization": near}).status_code == 401
        for path in ("metrics", "metrics/plugins/x", "%6detrics", "x/../metrics", "/metrics"):
            answer = client.send(httpx.Request("GET", f"https://localhost:{door.page}/grafana/{path}"))
            assert answer.status_code == 404
        assert client.get("/grafana/api/health").status_code == 502  # no Grafana runs here


def test_debians_old_protocols_are_not_added_to_ours(door: Door) -> None:
    assert "duplicate value" not in door.nginx.output()
    with pytest.raises(ssl.SSLError):
        _spoken(door, ssl.TLSVersion.TLSv1_1)
    assert _spoken(door, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"


def _spoken(door: Door, version: ssl.TLSVersion) -> str | None:
    """The protocol of a connection with a client that speaks no other, however weak its ciphers."""
    trust = ssl.create_default_context(cafile=door.authority.folder / "ca.crt")
    trust.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trust.minimum_version = trust.maximum_version = version
    with (
        socket.create_connection(("localhost", door.port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.version()


def test_it_ends_in_order(door: Door) -> None:
    door.service.stop()
    assert door.service.status in (0, -signal.SIGTERM)
