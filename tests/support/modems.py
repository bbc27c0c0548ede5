"""A fake `mmcli` on the PATH, that prints what the real one prints: its JSON, and its errors.

The shapes are those of ModemManager 1.20 to 1.24 (cli/mmcli-output.c) as users have published them; all values are
text, `--` is what is not known, and decimals follow the locale.
"""

import json
from pathlib import Path
from typing import Any, Self

import pytest

PATH = "/org/freedesktop/ModemManager1/Modem/0"

SCRIPT = """#!/bin/sh
cd {folder} || exit 9
echo "$*" >> calls
[ -f slow ] && exec sleep 60
file=./$(echo "$*" | tr '/ ' '_.')
case "$*" in
*--signal-setup=*)
    [ -f polled ] || {{ echo "error: couldn't setup signal quality information polling: \
'GDBus.Error:org.freedesktop.ModemManager1.Error.Core.Unauthorized: PolicyKit authorization failed'" >&2; exit 1; }}
    mv polled ./*signal-get*
    echo "Successfully setup signal quality information polling";;
*)
    [ -f "$file" ] || {{ echo "error: couldn't find modem" >&2; exit 1; }}
    if [ "$LC_ALL" = C ]; then cat "$file"; else sed 's/\\([0-9]\\)\\.\\([0-9]\\)/\\1,\\2/g' "$file"; fi;;
esac
"""


def modem(technologies: list[str], state: str = "connected", **generic: Any) -> dict[str, Any]:
    """What `mmcli -m … -J` prints below `modem` of a Quectel in QMI mode, abridged."""
    return {
        "3gpp": {
            "enabled-locks": ["fixed-dialing"],
            "imei": "000000000000000",
            "operator-code": "45204",
            "operator-name": "Viettel",
            "packet-service-state": "attached",
            "registration-state": "home",
        },
        "cdma": {"activation-state": "--", "esn": "--", "meid": "--"},
        "dbus-path": PATH,
        "generic": {
            "access-technologies": technologies,
            "bearers": ["/org/freedesktop/ModemManager1/Bearer/1"],
            "current-bands": ["utran-1", "utran-8", "eutran-1", "eutran-3", "eutran-7", "eutran-8"],
            "current-modes": "allowed: 3g, 4g; preferred: 4g",
            "drivers": ["option", "qmi_wwan"],
            "equipment-identifier": "000000000000000",
            "manufacturer": "Quectel",
            "model": "EC25",
            "ports": ["cdc-wdm0 (qmi)", "ttyUSB0 (ignored)", "ttyUSB2 (at)", "wwan0 (net)"],
            "primary-port": "cdc-wdm0",
            "signal-quality": {"recent": "yes", "value": "75"},
            "state": state,
            "state-failed-reason": "--",
            "unlock-required": "sim-pin2",
            "unlock-retries": ["sim-pin (3)", "sim-puk (10)", "sim-pin2 (3)", "sim-puk2 (10)"],
            **generic,
        },
    }


def signal(rate: int = 10, **powers: dict[str, str]) -> dict[str, Any]:
    """What `--signal-get -J` prints below `modem`; `lte`, `nr` give powers."""
    empty = {"error-rate": "--", "rsrp": "--", "rsrq": "--", "snr": "--"}
    return {
        "signal": {
            "5g": {**empty, **powers.get("nr", {})},
            "cdma1x": {"ecio": "--", "error-rate": "--", "rssi": "--"},
            "gsm": {"error-rate": "--", "rssi": "--"},
            "lte": {**empty, "rssi": "--", **powers.get("lte", {})},
            "refresh": {"rate": str(rate)},
            "threshold": {"error-rate": "no", "rssi": "0"},
            "umts": {"ecio": "--", "error-rate": "--", "rscp": "--", "rssi": "--"},
        }
    }


GOOD_LTE = {"rsrp": "-86.00", "rsrq": "-9.00", "rssi": "-58.00", "snr": "14.20"}
WEAK_LTE = {"rsrp": "-113.00", "rsrq": "-16.00", "rssi": "-85.00", "snr": "1.00"}
LOCATION = {
    "location": {
        "3gpp": {"cid": "0197763E", "lac": "0000", "mcc": "452", "mnc": "04", "tac": "00C945"},
        "cdma-bs": {"latitude": "--", "longitude": "--"},
        "gps": {"altitude": "--", "latitude": "--", "longitude": "--", "nmea": [], "utc": "--"},
    }
}
CELLS = [
    "cell type: lte, serving: yes, operator id: 45204, tac: C945, ci: 0197763E, physical ci: 99, earfcn: 1300, "
    "rsrp: -86.000000, rsrq: -9.000000",
    "cell type: lte, serving: no, physical ci: 12, earfcn: 3050, rsrp: -101.000000, rsrq: -15.000000",
]


class FakeMmcli:
    """Until `say` has been called it knows of no modem."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = folder / "mmcli-answers"
        programs = folder / "bin"
        for one in (self._answers, programs):
            one.mkdir()
        script = programs / "mmcli"
        script.write_text(SCRIPT.format(folder=self._answers))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        monkeypatch.setenv("LC_ALL", "vi_VN.UTF-8")
        self._put("-L -J", {"modem-list": []})

    def say(
        self,
        about: dict[str, Any],
        powers: dict[str, Any] | None = None,
        cells: list[str] | None = None,
        location: dict[str, Any] | None = None,
    ) -> Self:
        """There is a modem now, and this is what it says; None: that it can't."""
        self._put("-L -J", {"modem-list": [PATH]})
        self._put(f"-m {PATH} -J", {"modem": about})
        if powers is not None:
            self._put(f"-m {PATH} --signal-get -J", {"modem": powers})
        if cells is not None:
            self._put(f"-m {PATH} --get-cell-info -J", {"modem": {"generic": {"cell-info": cells}}})
        if location is not None:
            self._put(f"-m {PATH} --location-get -J", {"modem": location})
        return self

    def polled(self, powers: dict[str, Any]) -> None:
        """What its signal is once it was told to poll it."""
        (self._answers / "polled").write_text(json.dumps({"modem": powers}))

    def print(self, arguments: str, text: str) -> None:
        """Anything."""
        (self._answers / arguments.replace("/", "_").replace(" ", ".")).write_text(text)

    def hang(self) -> None:
        (self._answers / "slow").touch()

    def calls(self) -> list[str]:
        """The arguments of each call so far."""
        return (self._answers / "calls").read_text().splitlines() if (self._answers / "calls").exists() else []

    def _put(self, arguments: str, document: dict[str, Any]) -> None:
        self.print(arguments, json.dumps(document))


@pytest.fixture
def mmcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMmcli:
    return FakeMmcli(tmp_path, monkeypatch)
