"""What each check makes of what it sees: green, amber, red, and what to do."""

import datetime as dt
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.check import delivery, download, machine, plan, port
from agent.check.plan import run_limited
from agent.clock.clock import ClockReading
from agent.errors import RequestRefused
from agent.settings import AgentSettings, LineSettings
from agent.status.client import ServiceSilent
from agent.status.status import AgentStatus
from tests.support.modems import GOOD_LTE, WEAK_LTE, FakeMmcli, mmcli, modem, signal
from tests.support.services import Authority, free_port, program
from xomnet.check.broker import Validity, check_broker, common_name, own_certificate, validity
from xomnet.check.finding import Finding, Mark, fail, ok, say, skip, warn
from xomnet.check.host import describe_machine
from xomnet.check.outcome import conclusion, document, row
from xomnet.check.texts import CheckTexts
from xomnet.contract.commands import Tested as Result
from xomnet.mqtt.broker import Broker, Tls
from xomnet.runtime.clock import utc_now

__all__ = ["mmcli"]
EN, VI = CheckTexts("en"), CheckTexts("vi")
NOW = dt.datetime(2026, 11, 22, 5, tzinfo=dt.UTC)


def text(one: Finding) -> str:
    """What a person reads."""
    return EN.sentences(one.found) + ("" if one.remedy is None else f" → {EN.sentence(one.remedy)}")


@pytest.mark.parametrize(
    ("throttled", "heat", "mark", "says"),
    [
        (None, None, "skip", "not a Raspberry Pi"),
        (0, 52.1, "ok", "no under-voltage since boot, 52.1 °C"),
        (0x1, None, "fail", "under-voltage now → use a power supply of 5.1 V"),
        (0x50005, 60.0, "fail", "under-voltage now, 60 °C"),
        (0x4, None, "warn", "slowed down by heat or low voltage now → improve ventilation"),
        (0x10000, None, "warn", "under-voltage since boot → use a power supply"),
        (0x40000, None, "warn", "slowed down since boot → improve ventilation"),
        (0, 81.0, "warn", "81 °C → improve ventilation"),
    ],
)
def test_power(throttled: int | None, heat: float | None, mark: Mark, says: str) -> None:
    found = machine.judge_power(throttled, heat)
    assert found.mark == mark
    assert says in text(found)


@pytest.mark.parametrize(
    ("now", "mark", "says"),
    [
        (ClockReading(NOW, 1, True, 3.0), "ok", "synchronised, within 3 ms"),
        (ClockReading(NOW, 1, True, 16_000.0), "ok", "synchronised"),
        (ClockReading(NOW, 1, True, None), "ok", "set by the host"),
        (
            ClockReading(NOW, 1, False),
            "warn",
            "not synchronised, results wait up to 10 min for the clock → check that NTP",
        ),
        (ClockReading(NOW.replace(year=1970), 1, False), "fail", "not set: it shows 1970-11-22"),
    ],
)
def test_clock(now: ClockReading, mark: Mark, says: str) -> None:
    found = machine.judge_clock(now, 600)
    assert (found.mark, text(found)[: len(says)]) == (mark, says)


def settings(folder: Path) -> AgentSettings:
    return AgentSettings(
        agent="nd-a-1", state_dir=folder, broker=Broker(), lines=(LineSettings(line="ftth", access="fixed"),)
    )


def test_a_disk_that_takes_what_is_written(tmp_path: Path) -> None:
    found = machine.check_disk(settings(tmp_path))
    assert found.mark == "ok"
    assert text(found).endswith("MB free, no spool yet")
    assert not list(tmp_path.iterdir())


def test_a_disk_without_the_folder_with_a_broken_spool_and_full(tmp_path: Path, small_disk: Path) -> None:
    assert "start the service once" in text(machine.check_disk(settings(tmp_path / "away")))
    (tmp_path / "spool.db").write_bytes(b"rubbish" * 1000)
    assert "the spool does not open: file is not a database" in text(machine.check_disk(settings(tmp_path)))
    little = machine.check_disk(settings(small_disk))
    assert (little.mark, "free space" in text(little)) == ("fail", True)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filler").write_bytes(bytes(3_000_000))
    assert "No space left on device → free space" in text(machine.check_disk(settings(small_disk)))


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
wwan0\t00000000\t00000000\t0001\t0\t0\t700\t00000000\t0\t0\t0
"""


def test_the_gateway_is_that_of_the_lines_interface() -> None:
    assert port.default_route(ROUTES, "eth0") == port.DefaultRoute("192.0.2.1")
    assert port.default_route(ROUTES, "wwan0") == port.DefaultRoute(None)
    assert port.default_route(ROUTES, "eth1") is None


def folder_of(tmp_path: Path, name: str, **files: str) -> Path:
    """A port as the kernel shows it in /sys/class/net."""
    for file, content in files.items():
        path = tmp_path / name / file.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "model", "mark", "says"),
    [
        ({"operstate": "down", "carrier": "0"}, "", "fail", "no link at the port → check the cable"),
        ({"operstate": "down"}, "", "fail", "switched off → sudo ip link set lo up"),
        (
            {"operstate": "up", "speed": "100", "duplex": "full"},
            "",
            "fail",
            "100 Mb/s full duplex, it carries at most 100 Mb/s",
        ),
        (
            {"operstate": "up", "speed": "1000", "duplex": "full", "wireless__x": ""},
            "",
            "fail",
            "Wi-Fi, 127.0.0.1 → use",
        ),
        ({"operstate": "up", "speed": "1000", "duplex": "half"}, "", "warn", "1,000 Mb/s half duplex"),
        ({"operstate": "up", "speed": "1000"}, "Raspberry Pi 3 Model B Rev 1.2", "fail", "it carries at most 94 Mb/s"),
        ({"operstate": "up", "speed": "1000"}, "Raspberry Pi 3 Model B Plus Rev 1.3", "warn", "no default route"),
    ],
)
def test_a_port_against_the_target(tmp_path: Path, files: dict[str, str], model: str, mark: Mark, says: str) -> None:
    line = LineSettings(line="ftth", access="fixed", interface="lo")
    found = port.check_port(line, 150.0, model, folder_of(tmp_path, "lo", **files))
    assert found.mark == mark
    assert says in text(found)


def test_a_port_that_is_not_there_or_not_named() -> None:
    away = port.check_ports(LineSettings(line="ftth", access="fixed", interface="eth99"), 150.0, "")
    assert [(one.name, one.mark, text(one)[:23]) for one in away] == [("eth99", "fail", "there is no interface e")]
    (unnamed,) = port.check_ports(LineSettings(line="ftth", access="fixed"), 150.0, "")
    assert (unnamed.name, unnamed.mark) == ("ftth", "warn")


MOBILE = LineSettings(line="4g", access="mobile", interface="wwan0")


@pytest.mark.parametrize(
    ("about", "mark", "says"),
    [
        (modem(["lte"]), "ok", "Viettel lte, RSRP -86 dBm, SINR 14.2 dB"),
        (
            modem([], "locked", **{"unlock-required": "sim-pin"}),
            "fail",
            "SIM locked (sim-pin) → sudo mmcli -i 0 --pin=PIN",
        ),
        (
            modem([], "failed", **{"state-failed-reason": "sim-missing"}),
            "fail",
            "modem failed: sim-missing → check the SIM",
        ),
        (modem([], "searching"), "fail", "no mobile network (searching) → check the antenna"),
        (modem([], "disabled"), "fail", "modem switched off → sudo mmcli -m 0 --enable"),
    ],
)
def test_a_modem(mmcli: FakeMmcli, about: dict[str, Any], mark: Mark, says: str) -> None:
    mmcli.say(about, signal(lte=GOOD_LTE))
    found = port.check_signal(MOBILE)
    assert (found.name, found.mark) == ("signal 4g", mark)
    assert says in text(found)


def test_a_locked_sim_is_one_thing_to_fix_not_two(mmcli: FakeMmcli) -> None:
    mmcli.say(modem([], "locked", **{"unlock-required": "sim-pin"}))
    assert [(one.name, one.mark) for one in port.check_ports(MOBILE, 70.0, "")] == [("wwan0", "fail")]


def test_a_modem_with_a_weak_signal_is_amber_and_one_that_nobody_knows_too(mmcli: FakeMmcli) -> None:
    unknown = port.check_signal(MOBILE)
    assert (unknown.mark, "itself a router" in text(unknown)) == ("warn", True)
    mmcli.say(modem(["lte"]), signal(lte=WEAK_LTE))
    weak = port.check_signal(MOBILE)
    assert weak.mark == "warn"
    assert text(weak).startswith("weak signal, Viettel lte, RSRP -113 dBm")


def test_without_modemmanager_the_signal_is_amber(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "there is no mmcli; install modemmanager → apt install" in text(port.check_signal(MOBILE))


# --- certificates: real ones, made by openssl


def tls(authority: Authority, name: str) -> Tls:
    identity = authority.issue(name)
    return Tls(ca=identity.ca, cert=identity.certificate, key=identity.key)


def asked(own: Tls, agent: str = "nd-a-1", now: dt.datetime | None = None) -> Finding:
    """Nobody listens: what is found before that is of the unit's own files."""
    return check_broker(Broker(host="127.0.0.1", port=free_port(), tls=own), agent, plan.UNIT, now or utc_now())


@pytest.mark.date
def test_the_units_certificate_is_read_with_its_name_and_dates(authority: Authority) -> None:
    found = own_certificate(tls(authority, "nd-a-1"))
    valid = validity(found)
    assert common_name(found) == "nd-a-1"
    assert 29 < (valid.ends - valid.begins) / 86_400 < 31
    assert not valid.ends_soon(utc_now())
    assert "nothing listens there" in text(asked(tls(authority, "nd-a-1")))


@pytest.mark.date
def test_a_certificate_of_another_unit_or_authority_or_key(authority: Authority, tmp_path: Path) -> None:
    own = tls(authority, "nd-a-1")
    assert "the certificate belongs to nd-a-1, not to nd-b-2" in text(asked(own, "nd-b-2"))
    other = tls(Authority(tmp_path), "nd-a-1")
    foreign = asked(Tls(ca=own.ca, cert=other.cert, key=other.key))
    assert "the certificate of nd-a-1 was not issued by" in text(foreign)
    mixed = asked(Tls(ca=own.ca, cert=own.cert, key=other.key))
    assert "the key and the certificate do not match" in text(mixed)
    away = asked(Tls(ca=own.ca, cert=own.cert, key=tmp_path / "away.key"))
    assert "away.key: No such file or directory; put the secret there → check that the unit is enrolled" in text(away)
    assert {one.mark for one in (foreign, mixed, away)} == {"fail"}


@pytest.mark.date
def test_a_key_that_all_can_read_is_named(authority: Authority) -> None:
    own = tls(authority, "nd-open-1")
    assert own.key is not None
    own.key.chmod(0o644)
    assert "mode 644 is open to others; run: chmod 600" in text(asked(own, "nd-open-1"))


def dated(authority: Authority, name: str, begins: str, ends: str) -> Tls:
    """A certificate of other dates, by `openssl ca` since `x509` of Debian 12 knows no dates."""
    identity = authority.issue(name)
    folder = authority.folder
    (folder / "index").write_text("")
    (folder / "serial").write_text("77\n")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n"
        "[p]\ncommonName=supplied\n"
    )
    argv = [
        program("openssl"),
        "ca",
        "-batch",
        "-notext",
        "-config",
        "ca.conf",
        "-cert",
        "ca.crt",
        "-keyfile",
        "ca.key",
    ]
    argv += ["-in", f"{name}.csr", "-out", f"{name}.crt", "-startdate", begins, "-enddate", ends]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, timeout=30)
    return Tls(ca=identity.ca, cert=identity.certificate, key=identity.key)


@pytest.mark.date
def test_a_certificate_that_ended_or_has_not_begun_says_its_day(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    past = asked(dated(authority, "nd-a-1", "20200101000000Z", "20210315000000Z"), now=NOW)
    assert "the certificate of nd-a-1 expired on 2021-03-15 → systemctl start xomnet-renew" in text(past)
    early = asked(dated(authority, "nd-a-1", "20990101000000Z", "20991231000000Z"), now=NOW)
    assert "is not valid before 2099-01-01 → set this machine's clock first" in text(early)


def test_a_certificate_ends_soon_when_a_fifth_of_its_life_is_left() -> None:
    now_s = NOW.timestamp()
    assert Validity(now_s - 81, now_s + 19).ends_soon(NOW)
    assert not Validity(now_s - 79, now_s + 21).ends_soon(NOW)


# --- delivery


def status(**more: Any) -> AgentStatus:
    plain: dict[str, Any] = {
        **{"agent": "nd-a-1", "version": "1", "since": NOW, "up_s": 1000.0, "clock_known": True, "connected": True},
        **{"waiting": 0, "spool_bytes": 0, "stored": 0, "rejected": 0},
    }
    return AgentStatus(**plain | more)


@pytest.mark.parametrize(
    ("after", "mark", "says"),
    [
        (status(stored=1), "ok", "acknowledged in 0.2 s"),
        (status(stored=1, waiting=900), "ok", "acknowledged in 0.2 s, 900 results wait"),
        (
            status(rejected=1, rejection="unknown_agent: no line"),
            "fail",
            "unknown_agent: no line → the operator must add",
        ),
        (status(rejected=1, rejection="future: tomorrow"), "fail", "future: tomorrow → look up the reason"),
        (
            status(refusal="No matching subscribers"),
            "fail",
            "no collector is connected to this broker → ask the operator",
        ),
        (
            status(refusal="Not authorized"),
            "fail",
            "the broker does not allow this unit to publish → the certificate's name",
        ),
        (status(clock_known=False, waiting=3), "warn", "results wait for the clock → set the clock"),
        (status(), "fail", "no answer → ask the operator"),
    ],
)
def test_what_came_of_a_round_trip(after: AgentStatus, mark: Mark, says: str) -> None:
    found = delivery.judge_answer(status(), after, 0.21)
    assert found.mark == mark
    assert says in text(found)


@pytest.mark.parametrize(
    ("now", "mark", "says"),
    [
        (status(stored=5, last_ack_age_s=40.0), "ok", "acknowledged 40 s ago"),
        (status(stored=5, last_ack_age_s=2000.0, waiting=3), "fail", "no answer"),
        (status(up_s=20.0), "skip", "just started"),
        (
            status(connected=False, away="refused: Not authorized"),
            "fail",
            "not connected to the broker, refused: Not auth",
        ),
        (
            status(rejected=5, rejection="unknown_agent: x", last_ack_age_s=4.0),
            "fail",
            "rejects the result: unknown_agent",
        ),
        (status(stored=1, waiting=None, last_ack_age_s=4.0), "ok", "the spool can't be read"),
    ],
)
def test_what_the_service_knows_of_its_deliveries(now: AgentStatus, mark: Mark, says: str) -> None:
    found = delivery.judge_status(now)
    assert found.mark == mark
    assert says in text(found)


# --- the test of a line


@pytest.mark.parametrize(
    ("found", "mark", "says"),
    [
        (Result(line="ftth", down_mbps=168.42, bytes=66_000_000), "ok", "168.4 Mb/s of 150, meets the target, 66 MB"),
        (
            Result(line="ftth", down_mbps=41.7, bytes=1),
            "warn",
            "41.7 Mb/s of 150, below the target, 0 MB → the unit",
        ),
        (Result(line="ftth", down_mbps=149.97), "warn", "149.9 Mb/s of 150, below the target"),
        (
            Result(line="ftth", down_mbps=160.0, flags=("wifi", "audit")),
            "warn",
            "does not count: wifi, 0 MB → use a cable",
        ),
        (
            Result(line="ftth", error="dns_failure", error_detail="x"),
            "fail",
            "no figure: dns_failure: x → look up the code",
        ),
    ],
)
def test_a_test_against_the_target(found: Result, mark: Mark, says: str) -> None:
    one = download.judge_test("ftth", found, 150.0)
    assert one.mark == mark
    assert says in text(one)


@pytest.mark.parametrize(
    ("refused", "mark"),
    [
        (RequestRefused("budget", "9 bytes"), "warn"),
        (RequestRefused("server_busy", "x"), "warn"),
        (RequestRefused("stopping", "x"), "fail"),
    ],
)
def test_a_test_that_is_not_made(refused: RequestRefused, mark: Mark) -> None:
    assert download.refusal("4g", refused).mark == mark


# --- all together


def crash() -> Sequence[Finding]:
    raise ZeroDivisionError("by zero")


def away() -> Finding:
    raise ServiceSilent("it went away")


def test_a_check_that_crashes_hangs_or_loses_the_service_is_a_red_row() -> None:
    (crashed,) = run_limited("disk", crash, 5)
    assert (crashed.name, crashed.mark) == ("disk", "fail")
    assert "ZeroDivisionError: by zero → a defect of xomnet" in text(crashed)
    never = threading.Event()
    (hung,) = run_limited("disk", lambda: ok("disk") if never.wait(60) else None, 0.05)
    never.set()
    assert text(hung).startswith("no result within 0.1 s")
    assert "it went away → systemctl restart" in text(run_limited("collector", away, 5)[0])
    assert run_limited("names", lambda: None, 5) == []


GOOD, ODD, BAD = ok("power", say("up")), warn("eth0", say("up"), say("tell the operator")), fail("4g", say("up"), None)


@pytest.mark.parametrize(
    ("found", "vi", "en"),
    [
        ([GOOD, skip("4g")], "Sẵn sàng.", "Ready."),
        ([GOOD, ODD], "Sẵn sàng; nên xem lại 1 việc.", "Ready; 1 thing to look at."),
        ([ODD, BAD], "Chưa sẵn sàng: cần sửa 1 việc.", "Not ready: 1 thing to fix."),
        ([BAD, BAD], "Chưa sẵn sàng: cần sửa 2 việc.", "Not ready: 2 things to fix."),
    ],
)
def test_the_last_line(found: list[Finding], vi: str, en: str) -> None:
    assert (conclusion(found, VI), conclusion(found, EN)) == (vi, en)


def test_a_row_has_its_mark_its_name_and_the_remedy_behind_an_arrow() -> None:
    assert row(ODD, EN, colour=False) == " ▲ eth0             up" + " " * 40 + "→ tell the operator"
    assert row(ODD, VI, colour=True).startswith(" \033[33m▲\033[0m eth0")
    long = warn("eth0", say("{text}", text="x" * 60), say("tell the operator"))
    assert row(long, EN, colour=False).splitlines()[1] == " " * 20 + "→ tell the operator"


def test_the_document_for_programs_has_the_same_words_in_every_language() -> None:
    found = document({"agent": "nd-a-1"}, "1.0", "Pi", [GOOD, BAD], VI)
    assert (found["ready"], found["to_fix"]) == (False, 1)
    assert [(one["name"], one["mark"]) for one in found["findings"]] == [("power", "ok"), ("4g", "fail")]
    assert found["findings"][0]["found"] == "đang hoạt động"


def test_the_machine_says_what_it_is() -> None:
    assert describe_machine().split(", ")[-1] in {"x86_64", "aarch64", "armv7l"}
