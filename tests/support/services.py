"""What the tests speak to: a real broker and a real database, each a process of its own on free loopback ports."""

import getpass
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, Self
from urllib.parse import urlencode

import pytest

START_S = 60.0
END_S = 10.0

started: list["Process"] = []
"""What is in use, so that a failing test can show what it said."""


class MissingProgram(Exception):
    """A program that the tests need is not installed."""


def program(name: str) -> str:
    """The path of a program. Raises MissingProgram: a test without its broker is no test, so nothing is skipped."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise MissingProgram(f"{name} is not installed; run `make system`")
    return path


def cannot(reason: str) -> NoReturn:
    """Ends a test that this computer or its user does not allow: skipped, but in CI a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def free_port() -> int:
    """A loopback port that nobody listens on, nor takes for a connection while its process is away: those are above."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """One process with a folder of its own; it can be killed and started again on the same port."""

    def __init__(self, folder: Path, argv: list[str], port: int) -> None:
        self.folder, self.port = folder, port
        self._argv = argv
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "output.log"

    def start(self) -> Self:
        """Returns when it answers. Raises TimeoutError or ChildProcessError with what it said."""
        assert not self.running, "it runs already"
        if self not in started:
            started.append(self)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log, cwd=self.folder)
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while not self._answers():
            if not self.running:
                raise ChildProcessError(f"{self._argv[0]} ended at its start:\n{self.output()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._argv[0]} does not answer within {START_S:g} s:\n{self.output()}")
            time.sleep(0.02)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs or before it ran."""
        return None if self._process is None else self._process.poll()

    def send(self, what: signal.Signals) -> None:
        """A signal that it is to survive."""
        assert self._process is not None
        self._process.send_signal(what)

    def kill(self) -> None:
        """SIGKILL, as a power cut would, but for the page cache."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL where that does not help."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self.start()

    def output(self, last: int = 4000) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-last:] if self._log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        started.remove(self)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)


class Identity(NamedTuple):
    """The files of a client: the authority that signed the server, its own certificate and key."""

    ca: Path
    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder, made with openssl as the deployment makes its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.certificate = folder, folder / "ca.crt"
        self._openssl("req", "-x509", *_key("ca.key"), "-out", "ca.crt", "-days", "30", "-subj", "/CN=xomnet test CA")

    def issue(self, name: str) -> Identity:
        """A certificate whose common name is `name`, for a client or, with its loopback address, for a server."""
        self._openssl(
            *("req", "-new", *_key(f"{name}.key"), "-out", f"{name}.csr", "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-copy_extensions", "copy", "-days", "30", "-out", f"{name}.crt"),
        )
        return Identity(self.certificate, self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def _openssl(self, *arguments: str) -> None:
        argv = [program("openssl"), *arguments]
        done = subprocess.run(argv, cwd=self.folder, capture_output=True, timeout=30, check=False)
        if done.returncode:
            raise ChildProcessError(f"openssl {arguments[0]}: {done.stderr.decode(errors='replace')}")


def _key(file: str) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", file


BROKER_RULES = """\
pattern write xomnet/v1/%u/up
pattern write xomnet/v1/%u/state
pattern write xomnet/v1/%u/reply
pattern read xomnet/v1/%u/ack
pattern read xomnet/v1/%u/cmd

user collector
topic read xomnet/v1/+/up
topic read xomnet/v1/+/state
topic read xomnet/v1/+/reply
topic write xomnet/v1/+/ack
topic write xomnet/v1/+/cmd
"""
"""Who may say what: the table of topics of the design, for a broker that knows its clients by their certificates."""


class Mosquitto(Process):
    """Mosquitto with the limits of production; with an `authority`, also with its certificates and rules."""

    def __init__(
        self,
        folder: Path,
        authority: Authority | None = None,
        persistence: bool = False,
        more: str = "",
        log: str = "all",
    ) -> None:
        port = free_port()
        lines = [
            f"listener {port} 127.0.0.1",
            f"user {getpass.getuser()}",
            "max_inflight_messages 1000",
            "max_queued_messages 100000",
            "message_size_limit 65536",
            f"persistence {str(persistence).lower()}",
            f"persistence_location {folder}/",
            *("log_dest stderr", f"log_type {log}"),
            *(_with_certificates(folder, authority) if authority else ["allow_anonymous true"]),
            more,
        ]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        super().__init__(folder, [program("mosquitto"), "-c", "mosquitto.conf"], port)


def _with_certificates(folder: Path, authority: Authority) -> list[str]:
    server = authority.issue("localhost")
    rules = folder / "rules.acl"
    rules.write_text(BROKER_RULES)
    rules.chmod(0o600)
    return [
        "allow_anonymous false",
        f"cafile {server.ca}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        f"acl_file {rules}",
    ]


class Influx(Process):
    """Debian's influxd 1.6.7: `/write` and `/query`, no `/api/v2/write`. Or what is at `path` (see `influx`)."""

    token = org = "any"

    def __init__(self, folder: Path, path: str | None = None) -> None:
        port = free_port()
        super().__init__(folder, [path or program("influxd"), *self._arguments(folder, port)], port)

    @staticmethod
    def _arguments(folder: Path, port: int) -> list[str]:
        (folder / "influxdb.conf").write_text(
            f"""\
reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
"""
        )
        return ["run", "-config", "influxdb.conf"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create(self, database: str, duration: str = "INF") -> None:
        """Creates a database that keeps points for `duration`, for example 1h."""
        self.query(f'CREATE DATABASE "{database}" WITH DURATION {duration}')

    def query(self, statement: str, database: str = "") -> str:
        """The answer as JSON text, past everything that the product uses."""
        return self._request("/query", {"q": statement, "db": database, "epoch": "ns"}, "")

    def write(self, database: str, lines: str) -> str:
        """Line protocol as it stands, to put the database into a state that the product would not."""
        return self._request("/write", {"db": database}, lines)

    def _request(self, path: str, parameters: dict[str, str], body: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                "POST", f"{path}?{urlencode(parameters)}", body.encode(), {"Authorization": f"Token {self.token}"}
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 300 or '"error":' in text:
            raise RuntimeError(f"influxd: {answer.status} {text}")
        return text

    def _answers(self) -> bool:
        try:
            self.query("SHOW DATABASES")
        except OSError:
            return False
        return True


class Nginx(Process):
    """nginx in one process; `server` is the inside of its server block."""

    def __init__(self, folder: Path, server: str, outside: str = "") -> None:
        port = free_port()
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "\n".join(f"{path}_temp_path {folder}/{path};" for path in paths)
        self.access_log = folder / "access.log"
        (folder / "nginx.conf").write_text(
            f"""\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
{temporary}
log_format requests '$request_method $uri $status';
access_log {self.access_log} requests;
{outside}
server {{
listen 127.0.0.1:{port};
{server}
}}
}}
"""
        )
        argv = [program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
        super().__init__(folder, argv, port)

    def requests(self, start: str = "") -> int:
        """How many requests it has answered whose method and path begin so."""
        return sum(line.startswith(start) for line in self.access_log.read_text().splitlines())


class InfluxV2(Influx):
    """influxd behind nginx, which counts the requests and gives 1.6.7 the `/api/v2/write` of InfluxDB 1.8 and later.
    Killing it leaves nginx.
    """

    def __init__(self, folder: Path, path: str | None = None) -> None:
        super().__init__(_made(folder / "influxd"), path)
        inside = self._mapped() if path is None else f"location / {{ proxy_pass http://127.0.0.1:{self.port}; }}"
        self.front = Nginx(
            _made(folder / "nginx"),
            f"client_max_body_size 25m;\n{inside}",
            "map $arg_precision $precision { ns n; us u; default $arg_precision; }",
        )

    def _mapped(self) -> str:
        return f"""\
location = /api/v2/write {{
    proxy_pass http://127.0.0.1:{self.port}/write?db=$arg_bucket&precision=$precision;
}}
location ~ ^/(query|ping)$ {{
    proxy_pass http://127.0.0.1:{self.port};
}}
"""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    def start(self) -> Self:
        super().start()
        if not self.front.running:
            try:
                self.front.start()
            except BaseException:
                super().stop()
                raise
        return self

    def stop(self) -> None:
        super().stop()
        self.front.stop()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
