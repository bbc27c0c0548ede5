"""The measurement server as a process: how it starts, what it refuses, how it ends."""

import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_at_once_in_mid_transfer(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "measurement_server", "--port", "0", "--rate", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline()
        port = re.fullmatch(r"http://127\.0\.0\.1:(\d+)\n", url)
        assert port
        address = ("127.0.0.1", int(port[1]))
        with closing(socket.create_connection(address)), closing(socket.create_connection(address, 10)) as connection:
            connection.sendall(b"GET /garbage.php HTTP/1.1\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            at = time.monotonic()
            process.send_signal(number)
            assert process.wait(5) == 0
            assert time.monotonic() - at < 2
        assert 'event="test ended" client=127.0.0.1' in process.stderr.read()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--port", "0", "--rate", "-3"],
        ["--port", "0", "--rate", "nan"],
        ["--port", "0", "--max-tests", "0"],
    ],
)
def test_bad_arguments_are_told_what_is_allowed(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "measurement_server", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "allowed" in done.stderr


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "measurement_server", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"port {port}: Address already in use" in done.stderr


def test_the_command_becomes_the_server_and_the_server_imports_no_typer() -> None:
    import typer
    from typer.testing import CliRunner

    from xomnet_cli.measure_server import measure_server

    app = typer.Typer()
    app.command()(measure_server)
    assert "xomnet measure-server --host" in CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    program = "import typer\nfrom xomnet_cli.measure_server import measure_server\ntyper.run(measure_server)"
    with subprocess.Popen(
        [sys.executable, "-c", program, "--port", "0", "--rate", "10"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(5) == 0
    program = "import sys, measurement_server.__main__\nsys.exit('typer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
