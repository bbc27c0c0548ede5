"""What the kernel is told in each namespace: devices, addresses, TCP."""

from pathlib import Path

from bench.linklab.link import MTU, Congestion, Link, LinkError
from bench.linklab.namespaces import NotAllowed, command, set_sysctls

QUEUE_PACKETS = 20_000
"""Packets that wait for the emulator in front of a TUN device: 30 MB, more than any window here."""
ETHERNET_BYTES = 14
TBF_BURST_S = 0.004
"""What tbf may send at once, at its rate: its timer may be that late before capacity is lost."""

AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")

BOTH_SIDES = {
    "ipv6/conf/all/disable_ipv6": "1",  # no packets but those of the test
    "ipv6/conf/default/disable_ipv6": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/tcp_no_metrics_save": "1",  # one transfer knows nothing of the last one
    "ipv4/ping_group_range": "0 2147483647",
}
SERVER = {"ipv4/tcp_rmem": "4096 131072 33554432", "ipv4/tcp_wmem": "4096 65536 67108864"}
CLIENT = {"ipv4/tcp_rmem": "4096 131072 6291456", "ipv4/tcp_wmem": "4096 16384 4194304"}
"""A client has what a Debian system has, whatever this machine's administrator chose."""


def configure_tcp(server: str, client: str, congestion: Congestion) -> None:
    """Buffers and congestion control. Raises LinkError when the kernel has no such algorithm."""
    set_sysctls(server, BOTH_SIDES | SERVER)
    set_sysctls(client, BOTH_SIDES | CLIENT)
    if congestion not in AVAILABLE.read_text(encoding="ascii").split():
        try:
            command("modprobe", f"tcp_{congestion}")
        except NotAllowed as error:
            found = ", ".join(AVAILABLE.read_text(encoding="ascii").split())
            raise LinkError(f"congestion: found {congestion!r}; this kernel has: {found}") from error
    allowed = ALLOWED.read_text(encoding="ascii").split()
    if congestion not in allowed:  # else a namespace may not choose it
        ALLOWED.write_text(" ".join([*allowed, congestion]), encoding="ascii")
    for namespace in (server, client):
        set_sysctls(namespace, {"ipv4/tcp_congestion_control": congestion})


def _batch(namespace: str, *lines: str) -> None:
    command("ip", "-n", namespace, "-batch", "-", text="\n".join(lines))


def configure_devices(
    server: str, client: str, server_interface: str, client_interface: str, address: str, number: int, *, tun: bool
) -> str:
    """Brings both ends up, with routes, and returns the client's address. Several links share the server's address."""
    ours = f"10.77.{number + 1}.2"
    up = f"mtu {MTU} up" + (f" txqueuelen {QUEUE_PACKETS}" if tun else "")
    if number == 0:
        _batch(server, f"addr add {address}/32 dev lo")
    _batch(
        server,
        f"link set {server_interface} {up}",
        f"route add {ours}/32 dev {server_interface} src {address}",  # also who answers from 0.0.0.0 answers so
    )
    _batch(
        client,
        f"addr add {ours}/32 dev {client_interface}",
        f"link set {client_interface} {up}",
        f"route add default dev {client_interface} src {ours} metric {100 * (number + 1)}",
    )
    if tun:  # no queue of the kernel's in front of ours
        for namespace, device in ((server, server_interface), (client, client_interface)):
            command("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "noqueue")
    return ours


def make_tbf(server: str, client: str, server_interface: str, client_interface: str, link: Link) -> None:
    """A veth pair whose way down goes through the kernel's token bucket. The rate is that of IP packets of 1500 bytes;
    tbf counts the Ethernet header too."""
    assert link.rate_mbps is not None
    peer = f"type veth peer name {client_interface} netns {client}"
    command("ip", "-n", server, "link", "add", server_interface, *peer.split())
    rate_bit = round(link.rate_mbps * 1e6 * (MTU + ETHERNET_BYTES) / MTU)
    burst = max(10 * (MTU + ETHERNET_BYTES), round(rate_bit / 8 * TBF_BURST_S))
    limit = round(link.down.buffer * (MTU + ETHERNET_BYTES) / MTU)
    shape = f"tbf rate {rate_bit}bit burst {burst} limit {limit}"
    command("tc", "-n", server, "qdisc", "add", "dev", server_interface, "root", *shape.split())
