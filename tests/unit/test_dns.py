"""Names asked over an interface: the messages, whom to ask, and asking real servers on loopback."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import MeasurementError as Failed
from agent.net import dns, name_servers
from agent.net.dns import query, resolve
from agent.net.dns_message import AAAA, NO_SUCH_NAME, A, DnsAnswer, encode_name, encode_question, parse_answer
from agent.net.name_servers import hosts_addresses, parse_nmcli, parse_resolv_conf, parse_resolvectl
from agent.net.sockets import pin
from tests.support.name_server import SILENCE, NameServer, answer_to, asked_for

# As dnspython 2.9 writes them, for the id 0x1234.
QUERY = bytes.fromhex("12340100000100000000000003646f31076578616d706c6502766e0000010001")
QUERY_6 = bytes.fromhex("12340100000100000000000003646f31076578616d706c6502766e00001c0001")
TWO = "12348180000100020000000003646f31076578616d706c6502766e0000010001" + (
    "c00c000100010000012c0004cb007108c00c000100010000012c0004cb007107"
)
ALIAS = "12348180000100020000000003646f31076578616d706c6502766e0000010001" + (
    "c00c000500010000012c001204656467650363646e076578616d706c6500c02c000100010000003c0004c6336409"
)
SIX = "12348180000100010000000003646f31076578616d706c6502766e00001c0001" + (
    "c00c001c00010000012c001020010db8000000000000000000000007"
)
NO_NAME = "12348183000100000001000003646f31076578616d706c6502766e0000010001" + (
    "c010000600010000012c0021026e73c0100561646d696ec0100000000100000002000000030000000400000005"
)
REFUSED = "12348185000100000000000003646f31076578616d706c6502766e0000010001"
TRUNCATED = "12348380000100000000000003646f31076578616d706c6502766e0000010001"
NAME = b"do1.example.vn"


def test_a_question_is_written_as_by_others() -> None:
    assert encode_question(0x1234, NAME, A) == QUERY
    assert encode_question(0x1234, NAME, AAAA) == QUERY_6


@pytest.mark.parametrize(
    ("message", "query", "answer"),
    [
        (TWO, QUERY, DnsAnswer(0, addresses=("203.0.113.8", "203.0.113.7"))),
        (ALIAS, QUERY, DnsAnswer(0, addresses=("198.51.100.9",))),
        (SIX, QUERY_6, DnsAnswer(0, addresses=("2001:db8::7",))),
        (NO_NAME, QUERY, DnsAnswer(NO_SUCH_NAME)),
        (REFUSED, QUERY, DnsAnswer(5)),
        (TRUNCATED, QUERY, DnsAnswer(0, truncated=True)),
        ("123481810000000000000000", QUERY, DnsAnswer(1)),  # FORMERR without the question
        (TWO.replace("646f31", "444f31"), QUERY, DnsAnswer(0, addresses=("203.0.113.8", "203.0.113.7"))),  # Do1
        (TWO.replace("1234", "1235"), QUERY, None),
        (TWO.replace("646f31", "646f32"), QUERY, None),
        (TWO.replace("8180", "0100"), QUERY, None),
        (TWO, QUERY_6, None),
        (TWO[:-2], QUERY, None),
        (TWO[:-40], QUERY, None),
        ("", QUERY, None),
    ],
)
def test_an_answer_of_others_is_read_and_what_is_none_is_left(
    message: str, query: bytes, answer: DnsAnswer | None
) -> None:
    assert parse_answer(bytes.fromhex(message), query) == answer


@given(st.binary(max_size=600), st.integers(0, 3))
def test_no_bytes_are_more_than_no_answer(noise: bytes, records: int) -> None:
    start = QUERY[:2] + bytes.fromhex("81800001") + records.to_bytes(2) + bytes(4) + QUERY[12:]
    for message in (noise, start + noise, start + b"\xc0" + noise):
        answer = parse_answer(message, QUERY)
        assert answer is None or all(socket.inet_aton(one) for one in answer.addresses)


@given(st.lists(st.ip_addresses(v=4).map(str), max_size=20), st.integers(0, 0xFFFF))
def test_what_the_test_server_writes_is_read(addresses: list[str], number: int) -> None:
    query = encode_question(number, NAME, A)
    assert asked_for(query) == (NAME.decode(), A)
    assert parse_answer(answer_to(query, 0, addresses), query) == DnsAnswer(0, addresses=tuple(addresses))


@pytest.mark.parametrize(
    ("host", "name"),
    [("Do1.Example.vn.", NAME), ("đo.example.vn", b"xn--o-kia.example.vn"), ("exa mple", b"exa mple")],
)
def test_a_name_is_asked_for_in_small_letters_and_ascii(host: str, name: bytes) -> None:
    assert encode_name(host) == name


@pytest.mark.parametrize("host", ["", ".", "a..b", "a" * 64 + ".vn", ".".join(["a" * 60] * 5)])
def test_what_can_be_no_name_is_refused(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # IDNA has its own words
        encode_name(host)


# Whom to ask. What nmcli 1.42 prints for a cable and a modem, and resolvectl 252; as documented, addresses changed.

NMCLI = """\
GENERAL.IP-IFACE:eth0
IP4.DNS[1]:192.168.1.1
IP4.DNS[2]:8.8.8.8
IP6.DNS[1]:2001:db8:1::1

GENERAL.IP-IFACE:wwan0
IP4.DNS[1]:10.53.0.1
IP4.DNS[2]:10.53.0.2

GENERAL.IP-IFACE:

GENERAL.IP-IFACE:lo
"""


def test_network_manager_knows_the_servers_of_each_interface() -> None:
    assert parse_nmcli(NMCLI, "eth0") == ("192.168.1.1", "8.8.8.8", "2001:db8:1::1")
    assert parse_nmcli(NMCLI, "wwan0") == ("10.53.0.1", "10.53.0.2")
    assert parse_nmcli(NMCLI, "lo") == ()
    assert parse_nmcli(NMCLI, "wlan0") == parse_nmcli("", "eth0") == ()


def test_systemd_resolved_knows_them_too() -> None:
    assert parse_resolvectl("Link 3 (wwan0): 10.53.0.1 2001:db8::1#dns.example\n") == ("10.53.0.1", "2001:db8::1")
    assert parse_resolvectl("Link 3 (wwan0):\n") == parse_resolvectl("") == ()


def test_resolv_conf_and_hosts_are_read() -> None:
    text = "# ours\nsearch lan\nnameserver 192.168.1.1\n;nameserver 1.2.3.4\nnameserver  2001:db8::1 # x\nnameserver\n"
    assert parse_resolv_conf(text) == ("192.168.1.1", "2001:db8::1")
    hosts = "127.0.0.1 localhost\n# 203.0.113.9 do1\n\n203.0.113.7\tDo1.example.vn do1 # ours\n2001:db8::7 do1\n"
    assert hosts_addresses("do1", hosts) == ("203.0.113.7", "2001:db8::7")
    assert hosts_addresses("do1.example.vn", hosts) == ("203.0.113.7",)
    assert hosts_addresses("ours", hosts) == ()


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `resolv.conf`, `upstream.conf`, `hosts`, and the programs that the system has, in `bin`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(name_servers, "RESOLV_CONFS", (tmp_path / "resolv.conf", tmp_path / "upstream.conf"))
    monkeypatch.setattr(name_servers, "ETC_HOSTS", tmp_path / "hosts")
    return tmp_path


def install(folder: Path, name: str, says: str) -> None:
    """A program that says this, in English alone."""
    program = folder / "bin" / name
    program.write_text(f"#!/bin/sh\n[ \"$LC_ALL\" = C ] || exit 1\nprintf '%s' '{says}'\n")
    program.chmod(0o755)


def test_the_servers_of_the_interface_come_before_those_of_all(system: Path) -> None:
    (system / "resolv.conf").write_text("nameserver 192.168.1.1\nnameserver 10.53.0.1\n")
    assert name_servers.name_servers("wwan0") == ("192.168.1.1", "10.53.0.1")
    install(system, "nmcli", NMCLI)
    assert name_servers.name_servers("wwan0") == ("10.53.0.1", "10.53.0.2")
    assert name_servers.name_servers("wlan0") == ("192.168.1.1", "10.53.0.1")
    install(system, "resolvectl", "Link 9 (wlan0): 172.16.0.1\n")
    assert name_servers.name_servers("wlan0") == ("172.16.0.1",)


def test_a_stub_on_this_machine_is_out_of_a_lines_reach_and_its_own_servers_are_asked(system: Path) -> None:
    (system / "resolv.conf").write_text("nameserver 127.0.0.53\noptions edns0 trust-ad\n")
    assert name_servers.name_servers("wwan0") == ()
    assert name_servers.name_servers("lo") == ("127.0.0.53",)
    (system / "upstream.conf").write_text("nameserver 192.168.1.1\n")
    assert name_servers.name_servers("wwan0") == ("192.168.1.1",)


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 8\n", "#!/bin/sh\nexec /bin/sleep 30\n", "no program"])
def test_a_program_that_fails_or_hangs_is_as_if_it_were_not_there(
    system: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(name_servers, "PROGRAM_S", 0.2)
    (system / "resolv.conf").write_text("nameserver 192.168.1.1\n")
    (system / "bin/nmcli").write_text(script)
    (system / "bin/nmcli").chmod(0o755)
    assert name_servers.name_servers("eth0") == ("192.168.1.1",)


# Asking


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


NAMES = {"do1.example.vn": "203.0.113.7", "do6.example.vn": "2001:db8::7"}


def test_a_server_tells_an_ipv4_address_and_where_there_is_none_an_ipv6_one(stack: ExitStack) -> None:
    server = stack.enter_context(NameServer(NAMES))
    assert query(NAME, [server.address], "lo", 5, server.port) == ("203.0.113.7",)
    assert server.ways == [f"udp {A}"]
    assert query(b"do6.example.vn", [server.address], "lo", 5, server.port) == ("2001:db8::7",)
    assert server.ways == [f"udp {A}", f"udp {A}", f"udp {AAAA}"]


def test_what_udp_truncates_is_asked_over_tcp(stack: ExitStack) -> None:
    server = stack.enter_context(NameServer(NAMES, truncates=True))
    assert query(NAME, [server.address], "lo", 5, server.port) == ("203.0.113.7",)
    assert server.ways == [f"udp {A}", f"tcp {A}"]


@pytest.mark.parametrize("rcode", [SILENCE, 2, 5])
def test_a_server_that_refuses_or_keeps_silent_leaves_the_word_to_the_next(stack: ExitStack, rcode: int) -> None:
    good = stack.enter_context(NameServer(NAMES, "127.0.0.3"))
    stack.enter_context(NameServer(NAMES, "127.0.0.2", good.port, rcode=rcode))
    assert query(NAME, ["127.0.0.2", "127.0.0.3"], "lo", 5, good.port) == ("203.0.113.7",)


def test_a_server_that_has_lost_the_question_is_asked_again(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "AGAIN_S", 0.1)
    server = stack.enter_context(NameServer(NAMES, rcode=SILENCE))
    with pytest.raises(Failed) as caught:
        query(NAME, [server.address], "lo", 0.5, server.port)
    assert caught.value.error == "dns_failure"
    assert f"over lo ({server.address}: no answer)" in caught.value.detail
    assert 2 < len(server.asked) < 8


def test_where_every_server_refuses_nobody_waits(stack: ExitStack) -> None:
    server = stack.enter_context(NameServer(NAMES, "127.0.0.2", rcode=5))
    with pytest.raises(Failed) as caught:  # nobody listens at the second address
        query(NAME, ["127.0.0.2", "127.0.0.3", "not-an-address"], "lo", 60, server.port)
    assert len(server.asked) == 1
    assert "127.0.0.2: REFUSED, 127.0.0.3: Connection refused" in caught.value.detail
    assert "is the line online" in caught.value.detail


def test_no_such_name_is_believed_and_says_who_said_so(stack: ExitStack) -> None:
    server = stack.enter_context(NameServer(NAMES))
    with pytest.raises(Failed) as caught:
        query(b"do2.example.vn", [server.address], "lo", 5, server.port)
    assert caught.value.detail == f"do2.example.vn: {server.address}, asked over lo, knows no address of it"
    assert server.ways == [f"udp {A}"]


@pytest.fixture
def name_server(system: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> NameServer:
    """The system's only name server."""
    server = stack.enter_context(NameServer(NAMES))
    monkeypatch.setattr(dns, "DNS_PORT", server.port)
    (system / "resolv.conf").write_text(f"nameserver {server.address}\n")
    (system / "hosts").write_text("198.51.100.1 near\n2001:db8::1 near6 near\n")
    return server


def test_names_are_resolved_over_the_interface(name_server: NameServer) -> None:
    assert resolve("Do1.example.vn", 8080, "lo") == (socket.AF_INET, ("203.0.113.7", 8080))
    assert resolve("do6.example.vn", 8080, "lo") == (socket.AF_INET6, ("2001:db8::7", 8080, 0, 0))
    assert {name for _, name in name_server.asked} == {"do1.example.vn", "do6.example.vn"}


def test_addresses_and_hosts_need_no_query(name_server: NameServer) -> None:
    assert resolve("203.0.113.9", 80, "lo") == (socket.AF_INET, ("203.0.113.9", 80))
    assert resolve("2001:db8::9", 80, "lo") == (socket.AF_INET6, ("2001:db8::9", 80, 0, 0))
    assert resolve("Near", 80, "lo") == (socket.AF_INET, ("198.51.100.1", 80))
    assert resolve("near6", 80, "lo") == (socket.AF_INET6, ("2001:db8::1", 80, 0, 0))
    assert name_server.asked == []


def test_without_an_interface_the_system_resolves(name_server: NameServer) -> None:
    assert resolve("localhost", 80)[1][1] == 80
    assert name_server.asked == []


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "..", ""])
@pytest.mark.parametrize("interface", [None, "lo"])
def test_what_can_be_no_name_is_a_failed_test(name_server: NameServer, host: str, interface: str | None) -> None:
    with pytest.raises(Failed) as caught:
        resolve(host, 80, interface)
    assert caught.value.error == "dns_failure"


def test_a_line_without_a_name_server_is_the_units_fault(system: Path) -> None:
    with pytest.raises(Failed) as caught:
        resolve("do1.example.vn", 80, "lo")
    assert (caught.value.error, caught.value.flags) == ("dns_failure", ("unit_fault",))
    assert "nmcli device show" in caught.value.detail


def test_an_interface_that_is_not_there_is_said_so(system: Path) -> None:
    (system / "resolv.conf").write_text("nameserver 203.0.113.1\n")
    with pytest.raises(Failed) as caught:
        resolve("do1.example.vn", 80, "no-such-if0")
    assert caught.value.error == "interface_missing"


def test_a_socket_may_be_pinned_twice_by_who_is_not_root() -> None:
    """As in the confined process, where every socket is pinned from its birth."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.seteuid(65534)
            sock = socket.socket()
            pin(sock, "lo")
            pin(sock, "lo")
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
