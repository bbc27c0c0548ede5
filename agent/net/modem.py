"""The state of a 4G or 5G modem and its radio, by ModemManager's `mmcli`.

A stick that is a router itself (HiLink) is plain Ethernet to this machine: ModemManager has no modem for it.
"""

import os
import re
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from xomnet.contract.characters import printable
from xomnet.contract.radio import Radio

T = TypeVar("T")

CALL_S = 4.0
"""The time limit of a call; after a call that reached it the modem is not asked further."""
REFRESH_S = 10
"""How often ModemManager reads the modem's signal, once polling is set up."""
WEAK_RSRP_DBM, WEAK_SINR_DB = -110.0, 0.0
"""Below these values, a cell's edge: 3GPP TS 36.133 reports RSRP from -140 to -44 dBm, and operators plan coverage for
-105 to -110; with SINR below 0 dB there is more noise than signal.
"""

_GENERATIONS: Mapping[str, int] = {
    **dict.fromkeys(("pots", "gsm", "gsm-compact", "gprs", "edge", "1xrtt"), 2),
    **dict.fromkeys(("umts", "hsdpa", "hsupa", "hspa", "hspa-plus", "evdo0", "evdoa", "evdob"), 3),
    **dict.fromkeys(("lte", "lte-cat-m", "lte-nb-iot"), 4),
    "5gnr": 5,
}
_LTE_BANDS: Sequence[tuple[int, int]] = (
    *((0, 1), (600, 2), (1200, 3), (1950, 4), (2400, 5), (2650, 6), (2750, 7), (3450, 8), (3800, 9), (4150, 10)),
    *((4750, 11), (4950, 0), (5010, 12), (5180, 13), (5280, 14), (5380, 0), (5730, 17), (5850, 18), (6000, 19)),
    *((6150, 20), (6450, 21), (6600, 0), (8040, 25), (8690, 26), (9040, 27), (9210, 28), (9660, 0), (37750, 38)),
    *((38250, 39), (38650, 40), (39650, 41), (41590, 42), (43590, 43), (45590, 0)),
)
"""First downlink EARFCN of each band (3GPP TS 36.101, table 5.7.3-1); band 0 for ranges that are left out."""
_NR_BANDS: Sequence[tuple[int, int]] = (
    *((0, 0), (151600, 28), (160601, 0), (361000, 3), (376001, 0), (422000, 1), (434001, 0), (460000, 40)),
    *((480001, 0), (499200, 41), (538000, 0), (620000, 78), (653334, 77), (680001, 0), (693334, 79), (733334, 0)),
)
"""The same for NR-ARFCN (3GPP TS 38.101-1, table 5.4.2.3-1): the bands in use here; n78 lies within n77."""
_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")

NO_RADIO = Radio()


class ModemSilent(Exception):
    """mmcli is missing, took too long, or gave no valid answer; the text says which."""


@dataclass(frozen=True, slots=True)
class Modem:
    """A modem as ModemManager sees it."""

    path: str
    state: str
    """ModemManager's state: `connected`, `registered`, `locked` (the SIM needs its PIN), `failed` …"""
    reason: str | None = None
    """If `locked`, which lock; if `failed`, why: `sim-missing`, `sim-error` …"""
    radio: Radio = NO_RADIO


def read_modem(interface: str | None, modem_id: str | None = None) -> Modem | None:
    """The modem `modem_id`, as `mmcli -m` takes it; else the modem of this interface; None if there is none.

    Raises ModemSilent. Takes some tenths of a second, seconds if ModemManager hangs.
    """
    document = _document(interface, modem_id)
    if document is None:
        return None
    path, state = str(document.get("dbus-path", "")), str(_value(document, "generic", "state") or "unknown")
    reason = {
        "locked": _value(document, "generic", "unlock-required"),
        "failed": _value(document, "generic", "state-failed-reason"),
    }.get(state)
    if state in {"locked", "failed", "disabled"}:
        return Modem(path, state, reason)
    return Modem(path, state, reason, parse_radio(document, _signal(path), _cells(path), _location(path)))


def is_weak(radio: Radio) -> bool:
    """True if power or SINR is that of a cell's edge."""
    return (radio.rsrp_dbm is not None and radio.rsrp_dbm < WEAK_RSRP_DBM) or (
        radio.sinr_db is not None and radio.sinr_db < WEAK_SINR_DB
    )


def has_changed_generation(before: Radio, after: Radio) -> bool:
    """True if the two readings have no generation in common. 5G that joins LTE under load, or HSPA in a UMTS cell, is
    normal.
    """
    was, is_ = ({_GENERATIONS.get(name, 0) for name in radio.technologies} - {0} for radio in (before, after))
    return bool(was and is_) and not was & is_


def parse_radio(
    modem: Mapping[str, Any], signal: Mapping[str, Any], cells: Sequence[str], location: Mapping[str, Any]
) -> Radio:
    """The radio, from the objects below `modem` in the JSON of `mmcli -m`, `--signal-get` and `--location-get`, and
    from the lines of `--get-cell-info`. Pure.
    """
    technologies = tuple(_words(_value(modem, "generic", "access-technologies")))
    serving = [cell for cell in map(_cell, cells) if cell.get("serving") == "yes"]
    fields = _power(signal, ("5g", "lte") if "5gnr" in technologies else ("lte", "5g"))
    cell = next((one["ci"] for one in serving if "ci" in one), None) or _value(location, "location", "3gpp", "cid")
    return Radio(
        technologies=technologies,
        bands=tuple(dict.fromkeys(band for one in serving if (band := _band(one)))),
        operator=_text(_value(modem, "3gpp", "operator-name")),
        cell=_text(cell),
        **fields,
    )


def _power(signal: Mapping[str, Any], order: Sequence[str]) -> dict[str, float]:
    """The figures of the first technology that has a power."""
    for technology in order:
        found = {
            name: value
            for name, key, *limits in (
                ("rsrp_dbm", "rsrp", -200, 0),
                ("rsrq_db", "rsrq", -60, 30),
                ("sinr_db", "snr", -60, 60),
            )
            if (value := _number(_value(signal, "signal", technology, key), *limits)) is not None
        }
        if "rsrp_dbm" in found:
            return found
    return {}


def _cell(line: str) -> dict[str, str]:
    """`cell type: lte, serving: yes, ci: 0197763E, earfcn: 1300` as a mapping."""
    return {key: value for part in line.split(", ") for key, _, value in [part.partition(": ")] if value}


def _band(cell: Mapping[str, str]) -> str | None:
    for key, bands, name in (("earfcn", _LTE_BANDS, "eutran"), ("nrarfcn", _NR_BANDS, "ngran")):
        channel = cell.get(key, "")
        if channel.isdecimal():
            band = bands[bisect_right(bands, (int(channel), 1 << 30)) - 1][1]
            return f"{name}-{band}" if band else None
    return None


def _document(interface: str | None, modem_id: str | None) -> Mapping[str, Any] | None:
    """The object `modem` in the JSON of the modem; None if there is no such modem."""
    if modem_id is not None:
        return _json("-m", modem_id)
    if interface is None:
        return None
    for path in _list():
        document = _json("-m", path)
        if f"{interface} (net)" in (_value(document, "generic", "ports") or ()):
            return document
    return None


def _signal(path: str) -> Mapping[str, Any]:
    """The signal. Sets up polling if it is off, as after a start or a reset of the modem."""
    try:
        found = _json("-m", path, "--signal-get")
        if _value(found, "signal", "refresh", "rate") == "0":
            _run("-m", path, f"--signal-setup={REFRESH_S}")
            found = _json("-m", path, "--signal-get")
    except _CallRefused:  # an old modem, or no right to set it up
        return {}
    return found


def _cells(path: str) -> Sequence[str]:
    try:
        found = _value(_json("-m", path, "--get-cell-info"), "generic", "cell-info")
    except _CallRefused:
        return ()
    return [line for line in found if isinstance(line, str)] if isinstance(found, list) else ()


def _location(path: str) -> Mapping[str, Any]:
    try:
        return _json("-m", path, "--location-get")
    except _CallRefused:
        return {}


class _CallRefused(ModemSilent):
    """mmcli answered that it can't do that, or may not."""


def _json(*arguments: str) -> dict[str, Any]:
    """What lies below `modem`."""
    return _decode(*arguments, type_=_Answer).modem


def _list() -> list[str]:
    return _decode("-L", type_=_List).modem_list


class _Answer(msgspec.Struct):
    modem: dict[str, Any]


class _List(msgspec.Struct, rename="kebab"):
    modem_list: list[str]


def _decode(*arguments: str, type_: type[T]) -> T:
    text = _run(*arguments, "-J")
    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.DecodeError as error:
        raise _CallRefused(f"mmcli {' '.join(arguments)}: {text[:100]!r} is not what was asked for") from error


def _run(*arguments: str) -> str:
    program = shutil.which("mmcli")
    if program is None:
        raise ModemSilent("there is no mmcli; install modemmanager")
    command = [program, *arguments]
    environment = {**os.environ, "LC_ALL": "C"}  # a comma for the decimal point elsewhere
    try:
        done = subprocess.run(command, capture_output=True, timeout=CALL_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise ModemSilent(f"mmcli {' '.join(arguments)}: no answer within {CALL_S:g} s") from None
    except OSError as error:
        raise ModemSilent(f"mmcli: {error.strerror}") from error
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip().removeprefix("error: ")
        raise _CallRefused(f"mmcli {' '.join(arguments)}: {complaint or f'ended with {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def _value(document: Any, *keys: str) -> Any:
    """The value below these keys; None if there is none, or if it is mmcli's `--`."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return None if document == "--" else document


def _text(value: Any) -> str | None:
    text = printable(value).strip()[:64] if isinstance(value, str) else ""
    return text or None


def _number(value: Any, lowest: float, highest: float) -> float | None:
    """A number within the limits; None if it is none, or outside: modems fill in impossible values."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if lowest <= number <= highest else None


def _words(value: Any) -> list[str]:
    """The words of a list, also those of a newer ModemManager, as far as the contract takes them."""
    found = value if isinstance(value, list) else []
    return [word for word in found if isinstance(word, str) and _WORD.fullmatch(word) and word != "unknown"][:8]
