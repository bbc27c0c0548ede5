"""Checks between this machine and a line: modem, port, address, gateway."""

import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import psutil

from agent.measure.latency import Anchor, probe
from agent.net import modem
from agent.net.interface import SYS, InterfaceState, read_attribute, read_interface
from agent.net.modem import Modem, ModemSilent
from agent.settings import LatencySettings, LineSettings
from xomnet.check.finding import Finding, Sentence, fail, ok, say, skip, warn
from xomnet.contract.radio import Radio

ROUTES = Path("/proc/net/route")
GATEWAY = 0x2
LOOK = LatencySettings(echoes=3, interval_ms=50, timeout_ms=500)
CEILINGS_MBPS = {"Raspberry Pi 3 Model B Plus": 224.0, "Raspberry Pi 3 Model B": 94.0, "Raspberry Pi 2": 94.0}
"""What a port can carry although its link rate is higher: that of a Pi 3B+ is on USB 2 (docs/method.md)."""
WORKING = {"registered", "connecting", "connected"}


@dataclass(frozen=True, slots=True)
class DefaultRoute:
    """A default route; a point-to-point one has no gateway."""

    gateway: str | None


def check_ports(line: LineSettings, target_mbps: float, model: str) -> list[Finding]:
    """Checks the modem, then the port: the modem explains why its port is down."""
    if line.interface is None:
        unchecked = say("no interface is set: port, Wi-Fi and other traffic are not checked")
        return [warn(line.line, unchecked, say("set interface: for the line in agent.yaml"))]
    radio: list[Finding] = []
    if line.access == "mobile" or line.modem is not None:
        seen = check_signal(line)
        if seen.mark == "fail":
            return [Finding(line.interface, seen.mark, seen.found, seen.remedy)]
        radio.append(seen)
    return [check_port(line, target_mbps, model), *radio]


def check_port(line: LineSettings, target_mbps: float, model: str, sys: Path = SYS) -> Finding:
    """Checks link rate and duplex against the target, the address, and whether the gateway answers."""
    name = line.interface or ""
    state = read_interface(name, sys)
    if state is None:
        plug = say("plug it in; ip link lists the interfaces")
        return fail(name, say("there is no interface {name}", name=name), plug)
    if not state.up:
        return _down(name, read_attribute(sys / name / "carrier"))
    addresses = own_addresses(name)
    if not addresses:
        return fail(name, say("up, but no address"), _dhcp(name))
    speed = _speed(state, read_attribute(sys / name / "duplex"))
    where = say("{address}", address=addresses[0])
    ceiling = min(state.link_mbps or 1e6, *[mbps for prefix, mbps in CEILINGS_MBPS.items() if prefix in model][:1], 1e6)
    if state.wireless:
        return fail(name, (say("Wi-Fi"), where), say("use a cable: a test over Wi-Fi does not count"))
    if ceiling < target_mbps:
        slow = say("it carries at most {n} Mb/s, the target is {target}", n=ceiling, target=target_mbps)
        return fail(
            name, (*speed, slow), say("use a cable with all 8 wires, a gigabit port at its other end, and a Pi 4 or 5")
        )
    answer, silent = _gateway(name, line)
    if any(said.english.endswith("half duplex") for said in speed):
        return warn(name, (*speed, where, answer), say("use another cable; set both ends to automatic"))
    return warn(name, (*speed, where, answer), silent) if silent else ok(name, *speed, where, answer)


def _down(name: str, carrier: str) -> Finding:
    if carrier == "0":
        words = say("no link at the port")
        return fail(name, words, say("check the cable at both ends, and that the modem, ONT or switch is on"))
    return fail(name, say("switched off"), say("sudo ip link set {name} up; nmcli device connect {name}", name=name))


def _dhcp(name: str) -> Sentence:
    return say("check that the router gives an address (DHCP): nmcli device show {name}", name=name)


def _speed(state: InterfaceState, duplex: str) -> tuple[Sentence, ...]:
    if state.link_mbps is None:
        return (say("up"),)
    if duplex == "half":
        return (say("{n} Mb/s half duplex", n=state.link_mbps),)
    if duplex == "full":
        return (say("{n} Mb/s full duplex", n=state.link_mbps),)
    return (say("{n} Mb/s", n=state.link_mbps),)


def _gateway(name: str, line: LineSettings) -> tuple[Sentence, Sentence | None]:
    """What was found of the gateway, and the remedy if that is not good."""
    route = default_route(read_attribute(ROUTES), name)
    if route is None:
        return say("no default route"), _dhcp(name)
    if route.gateway is None:
        return say("no gateway needed"), None
    found = probe((Anchor(route.gateway),), name, LOOK)
    if found.rtt_p50_ms is not None:
        return say("gateway answers in {n} ms", n=round(found.rtt_p50_ms, 1)), None
    quiet = say("gateway {address} does not answer", address=route.gateway)
    if line.access == "mobile":  # few operators' do
        return quiet, None
    return quiet, say("some routers answer no ping; if the server below fails too, restart the router")


def own_addresses(name: str) -> list[str]:
    """Addresses of an interface that reach beyond its link, IPv4 first."""
    found = psutil.net_if_addrs().get(name, [])
    four = [one.address for one in found if one.family == socket.AF_INET and not one.address.startswith("169.254.")]
    six = [one.address for one in found if one.family == socket.AF_INET6 and not one.address.startswith("fe80")]
    return four + six


def default_route(text: str, name: str) -> DefaultRoute | None:
    """The first default route of an interface in the text of /proc/net/route; None if there is none."""
    for line in text.splitlines()[1:]:
        interface, destination, gateway, flags, *_ = line.split()
        if interface == name and destination == "00000000":
            address = socket.inet_ntoa(struct.pack("=L", int(gateway, 16)))
            return DefaultRoute(address if int(flags, 16) & GATEWAY else None)
    return None


def check_signal(line: LineSettings) -> Finding:
    """Checks the state and signal of the line's modem, by ModemManager."""
    name = f"signal {line.line}"
    try:
        found = modem.read_modem(line.interface, line.modem)
    except ModemSilent as error:
        install = say("apt install modemmanager; systemctl status ModemManager")
        return warn(name, say("the modem cannot be read: {reason}", reason=str(error)), install)
    if found is None:
        words = say("ModemManager finds no modem for {name}", name=line.interface or "")
        return warn(
            name,
            words,
            say("normal for a USB stick that is itself a router; for others, unplug the modem and plug it in again"),
        )
    return judge_modem(name, found)


def judge_modem(name: str, found: Modem) -> Finding:
    """The finding from a modem's state and radio. Pure."""
    number = re.sub(r".*/", "", found.path) or "any"
    if found.state == "locked":
        sim = say("sudo mmcli -i {n} --pin=PIN; or take the PIN off the SIM in a phone", n=number)
        return fail(name, say("modem seen, SIM locked ({reason})", reason=found.reason or "?"), sim)
    if found.state == "failed":
        seat = say("check the SIM: in its slot, right way round, paid for; then unplug the modem and plug it in again")
        return fail(name, say("modem failed: {reason}", reason=found.reason or "?"), seat)
    if found.state == "disabled":
        return fail(name, say("modem switched off"), say("sudo mmcli -m {n} --enable; nmcli radio wwan on", n=number))
    if found.state not in WORKING:
        aerial = say("check the antenna, the place, and that the SIM is paid for: mmcli -m {n}", n=number)
        return fail(name, say("no mobile network ({state})", state=found.state), aerial)
    words = radio_words(found.radio)
    if modem.is_weak(found.radio):
        return warn(
            name, (say("weak signal"), *words), say("move the unit, or use an outdoor antenna, away from metal")
        )
    return ok(name, *words) if words else skip(name, say("connected; the modem gives no signal figures"))


def radio_words(radio: Radio) -> tuple[Sentence, ...]:
    """Operator, network and signal in words."""
    who = " ".join([*([radio.operator] if radio.operator else []), *radio.technologies])
    words = [say("{text}", text=who)] if who else []
    words += [say("RSRP {n} dBm", n=radio.rsrp_dbm)] if radio.rsrp_dbm is not None else []
    words += [say("SINR {n} dB", n=radio.sinr_db)] if radio.sinr_db is not None else []
    return tuple(words)
