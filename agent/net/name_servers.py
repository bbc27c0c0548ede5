"""The name servers of an interface: a mobile operator's often answer only on its own network.

Raspberry Pi OS runs NetworkManager, which writes the servers of all lines into one /etc/resolv.conf; only
NetworkManager knows which server belongs to which line. With systemd-resolved, resolv.conf names a stub on this
machine.
"""

import os
import shutil
import subprocess
from pathlib import Path

ETC_HOSTS = Path("/etc/hosts")
RESOLV_CONFS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
"""The second file has the servers that the stub in the first one asks."""
PROGRAM_S = 3.0


def name_servers(interface: str) -> tuple[str, ...]:
    """The name servers of an interface, as text; if it has none, those of resolv.conf. Empty: none that it can
    reach.
    """
    of_all = ["-t", "-e", "no", "-f", "GENERAL.IP-IFACE,IP4.DNS,IP6.DNS", "device", "show"]
    own = parse_nmcli(_output("nmcli", *of_all), interface) or parse_resolvectl(_output("resolvectl", "dns", interface))
    candidates = [own] if own else [parse_resolv_conf(_text(file)) for file in RESOLV_CONFS]
    for servers in candidates:
        if reachable := tuple(server for server in servers if interface == "lo" or not _is_loopback(server)):
            return reachable
    return ()


def parse_nmcli(text: str, interface: str) -> tuple[str, ...]:
    """The servers of an interface, from nmcli's output on all devices: a modem's device is cdc-wdm0, its interface
    wwan0.
    """
    for device in text.split("\n\n"):
        fields = [(key, value) for key, colon, value in (line.partition(":") for line in device.splitlines()) if colon]
        if ("GENERAL.IP-IFACE", interface) in fields:
            return tuple(value for key, value in fields if key.startswith(("IP4.DNS", "IP6.DNS")) and value)
    return ()


def parse_resolvectl(text: str) -> tuple[str, ...]:
    """The servers in `resolvectl dns INTERFACE`: `Link 3 (wwan0): 10.1.1.1 2001:db8::1#dns.example`."""
    return tuple(server.partition("#")[0] for server in text.partition("): ")[2].split())


def parse_resolv_conf(text: str) -> tuple[str, ...]:
    """The name servers of a resolv.conf, in order."""
    lines = [line.split() for line in text.splitlines()]
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


def hosts_addresses(name: str, text: str | None = None) -> tuple[str, ...]:
    """The addresses of a name in /etc/hosts."""
    lines = [line.partition("#")[0].split() for line in (_text(ETC_HOSTS) if text is None else text).splitlines()]
    return tuple(address for address, *names in filter(None, lines) if name in map(str.lower, names))


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"


def _output(program: str, *arguments: str) -> str:
    """Standard output; empty if there is no such program or it fails, as on a system that uses the other one."""
    if (path := shutil.which(program)) is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROGRAM_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
