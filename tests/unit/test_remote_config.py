"""Remote settings stay where the collector answered under them, and only there: over restarts, reboots, damage."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as given_so
from hypothesis import strategies as st

from agent.control import remote_config as remote_module
from agent.control.config_trial import MAX_STARTS
from agent.control.remote_config import FILE, RemoteConfig
from agent.errors import RequestRefused
from agent.settings import AgentSettings
from xomnet.contract.messages import Event
from xomnet.contract.remote_settings import Setting

LIMIT_S = 600.0
SETTLED_S = 60.0
DOCUMENT = {
    "agent": "nd-a",
    "state_dir": "state",
    "broker": {},
    "lines": [{"line": "ftth", "access": "fixed"}, {"line": "4g", "access": "mobile"}],
}


@dataclass
class Machine:
    """A unit's folder, its clock, and the process that works there."""

    folder: Path
    document: dict[str, Any] = field(default_factory=lambda: dict(DOCUMENT))
    boot: int = 1
    now_s: float = 100.0
    answered_s: float = 0.0
    events: list[Event] = field(default_factory=list)
    applied: list[AgentSettings] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file = self.folder / FILE
        self.file.unlink(missing_ok=True)
        self.edit()
        self.start()

    def edit(self, **changes: Any) -> None:
        """agent.yaml."""
        self.document |= changes
        (self.folder / "agent.yaml").write_text(yaml.safe_dump(self.document))

    def start(self) -> None:
        """As after a kill: nothing but the disk remains."""
        self.remote = RemoteConfig(self.folder / "agent.yaml", self.file, UUID(int=self.boot))
        self.applied = [self.remote.load()]
        self.remote.on_change(self.applied.append)
        self.answered_s = 0.0

    def reboot(self) -> None:
        self.boot += 1
        self.now_s = 5.0
        self.start()

    def change(self, prove_s: float | None = None, **settings: Setting) -> str:
        return self.remote.change({key.replace("__", "."): value for key, value in settings.items()}, (), prove_s)

    def turn(self, seconds: float = 0.0, held_s: float = 0.0) -> bool:
        """The loop comes by, so much later."""
        self.now_s += seconds
        asked = self.remote.check_trial(int(self.answered_s * 1e9), held_s)
        self.remote.commit_events(self._take)
        return asked

    def _take(self, event: Event) -> bool:
        self.events.append(event)
        return True

    def answer(self) -> None:
        self.answered_s = self.now_s

    def prove(self) -> None:
        """The loop turns, the time goes by that an answer of before could take, the collector answers."""
        self.turn()
        self.now_s += SETTLED_S + 1
        self.answer()
        self.turn()

    @property
    def every_s(self) -> float:
        return self.applied[-1].latency.every_s

    @property
    def named(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    level = logging.getLogger().level
    made: list[Machine] = []
    monkeypatch.setattr(remote_module, "boot_ns", lambda: int(made[0].now_s * 1e9) if made else 0)
    made.append(Machine(tmp_path))
    made[0].start()
    yield made[0]
    logging.getLogger().setLevel(level)


def test_a_change_is_in_force_at_once_and_stays_when_the_collector_answers_under_it(machine: Machine) -> None:
    said = machine.change(latency__every_s=60, lines__4g__budget_gb=3)
    assert "600 s" in said
    assert (machine.every_s, machine.applied[-1].lines[1].budget_bytes) == (60, 3_000_000_000)
    assert machine.remote.config_in_force().trial_s == LIMIT_S
    machine.turn()
    machine.answer()
    machine.turn(1)
    assert machine.remote.config_in_force().trial_s is not None, "it may have been an answer to what was said before"
    assert machine.turn(SETTLED_S), "its answer will tell"
    assert not machine.turn(1), "it need not be said twice"
    machine.answer()
    machine.turn()
    assert machine.remote.config_in_force().trial_s is None
    machine.turn(2 * LIMIT_S)
    machine.start()
    assert (machine.every_s, machine.remote.override_count(), machine.named) == (60, 2, ["settings_changed"])
    assert machine.file.stat().st_mode & 0o777 == 0o600


def test_without_an_answer_the_former_settings_come_back_and_it_is_told(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.prove()
    machine.change(latency__every_s=70, log_level="error")
    machine.turn(LIMIT_S - 1)
    assert machine.every_s == 70
    assert machine.turn(1)
    assert (machine.every_s, machine.remote.config_in_force().changed) == (60, ("latency.every_s",))
    assert machine.events[-1].name == "settings_rolled_back"
    assert (
        machine.events[-1].detail
        == "latency.every_s=60, log_level as in agent.yaml: the collector has not answered within 600 s"
    )
    machine.start()
    assert machine.every_s == 60


def test_a_change_of_what_is_on_trial_falls_back_to_what_was_proven(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.turn(LIMIT_S / 2)
    machine.change(health__every_s=60)
    machine.turn(LIMIT_S)
    assert machine.remote.override_count() == 0
    assert (machine.every_s, machine.applied[-1].health.every_s) == (300, 300)


def test_a_restart_gives_no_more_time_and_a_reboot_starts_it_again(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.turn(LIMIT_S - 10)
    machine.start()
    machine.turn(11)
    assert machine.every_s == 300
    machine.change(latency__every_s=60)
    machine.turn(LIMIT_S - 10)
    machine.reboot()
    machine.turn(11)
    assert machine.every_s == 60, "nobody knows how long the power was away"
    machine.turn(LIMIT_S)
    assert machine.every_s == 300


def test_an_agent_that_the_settings_end_again_and_again_gets_its_former_ones(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    for _ in range(MAX_STARTS):
        machine.start()
        assert machine.every_s == 60
        machine.now_s += SETTLED_S + 1
        machine.answer()
        machine.turn()  # it reaches the collector, and dies of whatever is due
    machine.start()
    machine.turn()
    assert (machine.every_s, machine.named[-1]) == (300, "settings_rolled_back")


def test_a_value_with_an_invisible_character_is_in_force_and_falls_back_over_a_kill(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.prove()
    machine.change(anchors=("a\u200bb",))
    machine.start()  # before the loop has committed the event, which names the value
    assert [file.name for file in machine.folder.glob(f"{FILE}*")] == [FILE], "nothing is set aside"
    assert (machine.every_s, machine.applied[-1].anchors) == (60, ("a\u200bb",))
    machine.turn(LIMIT_S)
    assert (machine.every_s, machine.applied[-1].anchors) == (60, ())
    assert [event.detail for event in machine.events if event.name == "settings_changed"][-1] == "anchors=a b; on trial"


def test_results_that_wait_for_the_time_have_so_much_longer(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.turn(LIMIT_S + 500, held_s=600)
    assert machine.every_s == 60
    machine.turn(101, held_s=600)
    assert machine.every_s == 300


def test_what_is_so_already_changes_nothing(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.prove()
    assert "already" in machine.change(latency__every_s=60)
    assert machine.remote.config_in_force().trial_s is None
    assert machine.remote.change({}, ("latency.every_s",), None)
    assert machine.every_s == 300
    machine.prove()
    assert machine.remote.override_count() == 0


@pytest.mark.parametrize(
    ("settings", "unset", "error", "said"),
    [
        ({"broker.host": "elsewhere"}, (), "forbidden", "broker.host: found a key that stays in agent.yaml"),
        ({}, ("state_dir",), "forbidden", "state_dir: found a key that stays in agent.yaml"),
        ({"latency.every_s": 0}, (), "invalid", "latency.every_s: found 0; allowed: a number, more than 0"),
        ({"lines.dsl.every_s": 5}, (), "invalid", "lines.dsl.every_s: found no line dsl; allowed: ftth, 4g"),
        ({"servers": ()}, ("servers",), "invalid", "servers: found both a value and `unset`"),
    ],
)
def test_what_is_refused_changes_nothing(
    machine: Machine, settings: dict[str, Setting], unset: tuple[str, ...], error: str, said: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        machine.remote.change({"health.every_s": 9, **settings}, unset, None)
    assert refused.value.error == error
    assert said in refused.value.detail
    assert (machine.remote.override_count(), len(machine.applied), machine.file.exists()) == (0, 1, False)


def test_agent_yaml_that_no_longer_has_the_line_is_used_alone_until_that_is_unset(machine: Machine) -> None:
    machine.change(lines__4g__budget_gb=3, latency__every_s=60)
    machine.prove()
    machine.edit(lines=[{"line": "lte", "access": "mobile"}])
    machine.start()
    machine.turn()
    assert (machine.every_s, machine.remote.override_count(), machine.named[-1]) == (300, 0, "settings_refused")
    assert "no line 4g; allowed: lte" in (machine.remote.config_in_force().ignored or "")
    with pytest.raises(RequestRefused, match="no line 4g"):
        machine.change(health__every_s=60)
    machine.remote.change({}, ("lines.4g.budget_gb",), None)
    assert (machine.every_s, machine.remote.config_in_force().ignored) == (60, None)


def test_agent_yaml_edited_during_a_trial_ends_it_where_they_do_not_fit(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.prove()
    machine.change(lines__4g__budget_gb=3)
    machine.edit(lines=[{"line": "lte", "access": "mobile"}])
    machine.remote.reload()
    machine.turn()
    assert (machine.every_s, machine.applied[-1].lines[0].line, machine.named[-1]) == (
        60,
        "lte",
        "settings_rolled_back",
    )


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff" * 50, b"[]", b'{"kept": {"latency.every_s": {}}}', b"[" * 9999])
def test_a_damaged_file_is_set_aside_and_agent_yaml_alone_is_used(machine: Machine, damage: bytes) -> None:
    machine.change(latency__every_s=60)
    machine.file.write_bytes(damage)
    machine.start()
    machine.turn()
    assert (machine.every_s, machine.named[-1]) == (300, "settings_reset")
    (aside,) = machine.folder.glob(f"{FILE}.damaged-*")
    assert aside.read_bytes() == damage
    machine.start()
    machine.turn()
    assert machine.named.count("settings_reset") == 1


def test_a_file_of_somebody_else_that_can_not_be_used_is_no_reason_not_to_start(machine: Machine) -> None:
    machine.file.write_text('{"kept": {"broker.host": "elsewhere", "latency.every_s": 60}}')
    machine.start()
    assert (machine.applied[-1].broker.host, machine.every_s) == ("127.0.0.1", 300)
    machine.remote.change({}, ("broker.host",), None)
    assert machine.every_s == 60


def test_changes_of_an_earlier_version_that_go_too_far_are_ignored_whole_until_they_are_unset(machine: Machine) -> None:
    machine.file.write_text(
        '{"kept": {"lines.4g.metered": false, "latency.every_s": 60, "servers": ["http://10.0.0.1/"]}}'
    )
    machine.start()
    machine.turn()
    assert machine.applied[-1].lines[1].is_metered
    assert (machine.every_s, machine.named[-1]) == (300, "settings_refused")
    ignored = machine.remote.config_in_force().ignored or ""
    assert "servers[0]: found 'http://10.0.0.1/'; allowed: a host that agent.yaml allows" in ignored
    machine.remote.change({}, ("servers", "lines.4g.metered"), None)
    assert (machine.every_s, machine.remote.config_in_force().ignored) == (60, None)


def test_a_disk_that_refuses_leaves_all_as_it_was(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(remote_module, "write_atomically", full)
        with pytest.raises(RequestRefused, match="No space left"):
            machine.change(latency__every_s=60)
        assert (machine.every_s, machine.remote.override_count()) == (300, 0)
    machine.change(latency__every_s=60)
    with monkeypatch.context() as patch:
        patch.setattr(remote_module, "write_atomically", full)
        machine.turn(LIMIT_S + 1)
        assert machine.every_s == 300, "it is taken back all the same"
    machine.turn()
    machine.reboot()
    assert machine.every_s == 300, "and written down as soon as it can be"


def test_what_the_spool_does_not_take_is_told_again(machine: Machine) -> None:
    machine.change(latency__every_s=60)
    machine.remote.commit_events(lambda _: False)
    machine.start()
    machine.turn()
    machine.turn()
    assert machine.named == ["settings_changed"]


def test_the_loop_is_woken_for_what_is_to_be_decided(machine: Machine) -> None:
    assert machine.remote.next_check_s() == math.inf
    machine.change(latency__every_s=60)
    assert machine.remote.next_check_s() == SETTLED_S
    machine.turn(SETTLED_S)
    assert 0 < machine.remote.next_check_s() <= 30


STEPS = st.lists(
    st.sampled_from(["change", "wait", "wait long", "answer", "turn", "restart", "reboot", "reload"]), max_size=30
)


@given_so(max_examples=60)
@given(steps=STEPS)
def test_what_is_not_proven_goes_and_what_is_proven_stays_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Against a model that knows only this: an answer to something said after a turn under these settings."""
    with pytest.MonkeyPatch.context() as patch:
        made: list[Machine] = []
        patch.setattr(remote_module, "boot_ns", lambda: int(made[0].now_s * 1e9) if made else 0)
        made.append(machine := Machine(tmp_path_factory.getbasetemp()))
        machine.start()
        proven, wanted, since, looks = 300.0, 300.0, 0.0, 0
        for number, step in enumerate([*steps, "wait long", "turn"]):
            match step:
                case "change":
                    wanted, since, looks = 1000.0 + number, machine.now_s, 0
                    machine.change(latency__every_s=wanted)
                case "wait" | "wait long":
                    machine.now_s += 40 if step == "wait" else LIMIT_S + 1
                case "answer":
                    machine.answer()
                case "turn":
                    looks += 1
                    if looks > 1 and machine.answered_s >= since + SETTLED_S:
                        proven = wanted
                    machine.turn()
                case "restart" | "reboot":
                    (machine.start if step == "restart" else machine.reboot)()
                    since, looks = machine.now_s, 0
                case "reload":
                    machine.remote.reload()
                    since, looks = machine.now_s, 0
            assert machine.every_s in (proven, wanted)
            if machine.remote.config_in_force().trial_s is None:
                wanted = machine.every_s
                assert wanted == proven
        assert machine.every_s == proven
    logging.getLogger().setLevel(logging.WARNING)
