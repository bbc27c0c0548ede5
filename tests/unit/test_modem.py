"""What is made of `mmcli`: a real process that prints what the real one prints."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.net import modem as modem_module
from agent.net.modem import Modem, ModemSilent, has_changed_generation, is_weak, parse_radio, read_modem
from tests.support.modems import CELLS, GOOD_LTE, LOCATION, PATH, WEAK_LTE, FakeMmcli, mmcli, modem, signal
from tests.unit.test_latency import NOON
from xomnet.contract.messages import Speed, SpeedResult, decode_result, encode
from xomnet.contract.radio import Radio

__all__ = ["mmcli"]  # a fixture


def radio(*technologies: str) -> Radio:
    return Radio(technologies=technologies)


def test_a_modem_is_found_by_the_interface_of_the_line(mmcli: FakeMmcli) -> None:
    mmcli.say(modem(["lte"]), signal(lte=GOOD_LTE), CELLS, LOCATION)
    assert read_modem("wwan0") == Modem(
        PATH,
        "connected",
        None,
        Radio(
            technologies=("lte",),
            bands=("eutran-3",),
            rsrp_dbm=-86,
            rsrq_db=-9,
            sinr_db=14.2,
            operator="Viettel",
            cell="0197763E",
        ),
    )
    assert read_modem("eth0") is None, "another line's modem"
    assert read_modem("wwan") is None
    assert read_modem(None) is None


def test_a_modem_can_be_named_where_its_interface_is_not_the_lines(mmcli: FakeMmcli) -> None:
    """A dial-up connection has ppp0, which no modem has for a port."""
    mmcli.say(modem(["lte"]), signal(lte=GOOD_LTE))
    mmcli.print("-m any -J", '{"modem":{"dbus-path":"' + PATH + '","generic":{"state":"connected"}}}')
    assert read_modem("ppp0") is None
    found = read_modem("ppp0", "any")
    assert found is not None
    assert (found.path, found.radio.rsrp_dbm) == (PATH, -86)


def test_a_stick_that_is_a_router_is_no_modem(mmcli: FakeMmcli) -> None:
    assert read_modem("eth1") is None
    assert mmcli.calls() == ["-L -J"]


@pytest.mark.parametrize(
    ("state", "generic", "reason"),
    [
        ("locked", {"unlock-required": "sim-pin"}, "sim-pin"),
        ("failed", {"state-failed-reason": "sim-missing", "unlock-required": "--"}, "sim-missing"),
        ("disabled", {}, None),
    ],
)
def test_a_modem_that_can_not_measure_says_why_and_is_asked_no_further(
    mmcli: FakeMmcli, state: str, generic: dict[str, Any], reason: str | None
) -> None:
    mmcli.say(modem([], state, **generic), signal(lte=GOOD_LTE))
    assert read_modem("wwan0") == Modem(PATH, state, reason)
    assert mmcli.calls() == ["-L -J", f"-m {PATH} -J"]


def test_a_lock_that_does_not_matter_is_none(mmcli: FakeMmcli) -> None:
    """PIN2 is asked for by next to no network, and modems report it while they are connected."""
    mmcli.say(modem(["lte"], **{"unlock-required": "sim-pin2"}))
    found = read_modem("wwan0")
    assert found is not None
    assert (found.state, found.reason) == ("connected", None)


def test_signal_polling_is_set_up_once(mmcli: FakeMmcli) -> None:
    mmcli.say(modem(["lte"]), signal(rate=0))
    mmcli.polled(signal(lte=WEAK_LTE))
    for _ in range(2):
        found = read_modem("wwan0")
        assert found is not None
        assert (found.radio.rsrp_dbm, found.radio.sinr_db) == (-113, 1)
    assert sum("--signal-setup=10" in call for call in mmcli.calls()) == 1


def test_without_the_right_to_poll_the_rest_is_kept(mmcli: FakeMmcli) -> None:
    mmcli.say(modem(["hsdpa", "hsupa"]), signal(rate=0), location=LOCATION)
    found = read_modem("wwan0")
    assert found is not None
    assert found.radio == Radio(technologies=("hsdpa", "hsupa"), operator="Viettel", cell="0197763E")


def test_where_there_is_no_program_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModemSilent, match="install modemmanager"):
        read_modem("wwan0")


def test_a_program_that_hangs_is_ended(mmcli: FakeMmcli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modem_module, "CALL_S", 0.3)
    mmcli.hang()
    with pytest.raises(ModemSilent, match=r"mmcli -L -J: no answer within 0\.3 s"):
        read_modem("wwan0")
    assert mmcli.calls() == ["-L -J"], "one long wait, not one for each question"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"modem-list":7}', "Segmentation fault", '{"modem-list":["'])
def test_what_is_no_answer_is_said(mmcli: FakeMmcli, text: str) -> None:
    mmcli.print("-L -J", text)
    with pytest.raises(ModemSilent, match="not what was asked for"):
        read_modem("wwan0")


def test_an_error_is_told_in_its_own_words(mmcli: FakeMmcli) -> None:
    with pytest.raises(ModemSilent, match="mmcli -m 7 -J: couldn't find modem"):
        read_modem(None, "7")


def test_of_5g_beside_lte_the_power_is_that_of_5g_where_it_answers() -> None:
    nr = {"rsrp": "-95.00", "rsrq": "-11.00", "snr": "18.50"}
    both, filler = signal(lte=GOOD_LTE, nr=nr), signal(lte=GOOD_LTE, nr={"rsrp": "-32768.00", "snr": "-3276.80"})
    assert parse_radio(modem(["lte", "5gnr"]), both, (), {}).rsrp_dbm == -95
    assert parse_radio(modem(["lte", "5gnr"]), filler, (), {}).rsrp_dbm == -86
    assert parse_radio(modem(["lte"]), both, (), {}).rsrp_dbm == -86


@pytest.mark.parametrize(
    ("channel", "band"),
    [
        ("earfcn: 0", "eutran-1"),
        ("earfcn: 599", "eutran-1"),
        ("earfcn: 1949", "eutran-3"),
        ("earfcn: 1950", "eutran-4"),
        ("earfcn: 3050", "eutran-7"),
        ("earfcn: 3799", "eutran-8"),
        ("earfcn: 9210", "eutran-28"),
        ("earfcn: 38950", "eutran-40"),
        ("earfcn: 40620", "eutran-41"),
        ("earfcn: 5000", None),
        ("earfcn: 70000", None),
        ("nrarfcn: 152000", "ngran-28"),
        ("nrarfcn: 528030", "ngran-41"),
        ("nrarfcn: 620000", "ngran-78"),
        ("nrarfcn: 653333", "ngran-78"),
        ("nrarfcn: 653334", "ngran-77"),
        ("nrarfcn: 2070833", None),
        ("earfcn: -1", None),
    ],
)
def test_the_band_follows_from_the_channel(channel: str, band: str | None) -> None:
    found = parse_radio({}, {}, [f"cell type: x, serving: yes, {channel}"], {})
    assert found.bands == (() if band is None else (band,))


@pytest.mark.parametrize(
    ("before", "after", "is_changed"),
    [
        (("lte",), ("lte",), False),
        (("lte",), ("umts",), True),
        (("hspa-plus",), ("lte",), True),
        (("lte",), ("5gnr",), True),
        (("lte",), ("lte", "5gnr"), False),  # 5G joins under load
        (("lte", "5gnr"), ("lte",), False),
        (("umts",), ("hsdpa", "hsupa"), False),  # idle and under load in one cell
        (("edge",), ("hsdpa", "hsupa"), True),
        ((), ("lte",), False),
        (("lte",), ("something-new",), False),
    ],
)
def test_a_change_of_network_is_one_of_generation(
    before: tuple[str, ...], after: tuple[str, ...], is_changed: bool
) -> None:
    assert has_changed_generation(radio(*before), radio(*after)) is is_changed


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Radio(rsrp_dbm=-110.0, sinr_db=0.0), False),
        (Radio(rsrp_dbm=-110.5), True),
        (Radio(rsrp_dbm=-80.0, sinr_db=-0.5), True),
        (Radio(), False),
    ],
)
def test_a_weak_signal_is_that_of_a_cells_edge(found: Radio, expected: bool) -> None:
    assert is_weak(found) is expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.text()
    | st.sampled_from(["-1e9", "nan", "--", "-95,00", "lte", 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@given(JSON, JSON, JSON, JSON, st.lists(st.text() | st.just("serving: yes, ci: \n, earfcn: ٣"), max_size=3))
def test_whatever_a_modem_says_fits_into_a_result(
    technologies: object, name: object, power: object, cid: object, cells: list[str]
) -> None:
    """A result that the collector refuses would be a test for nothing."""
    found = parse_radio(
        {"generic": {"access-technologies": technologies}, "3gpp": {"operator-name": name}},
        {"signal": {"lte": {"rsrp": power, "rsrq": "-8", "snr": power}}},
        cells,
        {"location": {"3gpp": {"cid": cid}}},
    )
    ids: dict[str, Any] = {
        "spool": "6f1c1b9e-6b0c-4c52-9d0c-0a1f6d2f3b11",
        "boot": "0d3f5f2a-51b4-4d0b-8c4e-51d7a0f6a0aa",
    }
    result = SpeedResult(
        v=1,
        agent="a",
        seq=1,
        at=NOON,
        clock="synced",
        line="4g",
        data=Speed(engine="http", server="s", radio=found),
        **ids,
    )
    assert isinstance(decode_result(encode(result)), SpeedResult)
