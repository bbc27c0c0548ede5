"""Kills and bad links, seeded, all at once: a thread for each of the four kinds of process, and for their links."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.chaos.observer import stored_of
from tests.chaos.province import Fragile, Province, set_persistence
from tests.chaos.proxy import Manner, Proxy
from tests.chaos.shim import Answer
from tests.support.services import Process

FEEDERS: dict[str, dict[str, object]] = {
    "nd-a": {},
    "nd-bad": {"poison": 0.04},
    "nd-small": {"spool_bytes": 12_000},
    "nd-clock": {"wanders": True},
}
"""One as it should be; one whose results are sometimes refused; one with a tiny disk; one whose clock wanders."""

FEEDER_POINTS: dict[str, tuple[str, ...]] = {
    "nd-a": ("spool.inserted", "uplink.acked", "spool.committed", "uplink.published"),
    "nd-bad": ("uplink.forgotten", "mqtt.connected", "uplink.puback"),
    "nd-small": ("spool.evicted",),
    "nd-clock": ("spool.frozen",),
}
COLLECTOR_POINTS = (
    "intake.received",
    "intake.validated",
    "influx.halved",
    "influx.answered",
    "intake.stored",
    "intake.archived",
    "intake.kept",
    "intake.acked",
    "intake.answered",
)
ALL_POINTS = frozenset(COLLECTOR_POINTS).union(*FEEDER_POINTS.values())
ANSWERS: tuple[Answer, ...] = ("401", "413", "429", "503", "slow", "refused", "lost")
"""What the database's shim is made to say. Not 400: the real database says it, of results that deserve it."""
MANNERS: tuple[Manner, ...] = ("blackhole", "cut_up", "cut_down", "slow", "reset")
FAULTS = 2 * len(MANNERS) + len(ANSWERS)

BROKER = "max_queued_messages 200"
"""So few that the queue overflows now and then while the collector is away, and the broker drops in silence."""

ARMED_S = 15.0


class Storm:
    """Torments a province until `kills` have happened and `results` are committed, but no longer than `limit_s`.

    `calm` makes the times between the faults longer.
    """

    def __init__(
        self, province: Province, seed: int, kills: int, results: int, limit_s: float, calm: float = 1.0
    ) -> None:
        self._province, self._seed, self._kills, self._results, self._calm = province, seed, kills, results, calm
        self._until = time.monotonic() + limit_s
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._failed: list[BaseException] = []
        self.kills: Counter[str] = Counter()
        """By what was killed."""
        self.died_at: Counter[str] = Counter()
        """Deaths at crash points."""
        self.faults: Counter[str] = Counter()
        """Bad links and bad answers."""
        self.committed = 0

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    def rage(self, say: Callable[[str], None] = print, say_every_s: float = 5.0) -> None:
        """Returns when it is over. Raises what a tormentor raised."""
        province = self._province
        fragile: list[tuple[Fragile, str, tuple[str, ...]]]
        fragile = [(province.feeders[name], name, points) for name, points in FEEDER_POINTS.items()]
        fragile.append((province.collector, "collector", COLLECTOR_POINTS))
        began = time.monotonic()
        self._join([self._thread(self._meet, *one) for one in fragile])
        say(f"{len(self.died_at)} of {len(ALL_POINTS)} crash points met in {time.monotonic() - began:.0f} s, now all")
        threads = [self._thread(self._torment, *one) for one in fragile]
        threads += [self._thread(what) for what in (self._torment_broker, self._torment_influx, self._torment_links)]
        if province.unit is not None:
            threads.append(self._thread(self._torment_unit, province.unit))
        while not self._enough():
            self._over.wait(say_every_s)
            province.sample()
            say(
                f"{self.total} kills, {self.committed} results, {province.witness.acked} acks heard, "
                f"{sum(province.waiting().values())} waiting"
            )
        self._over.set()
        self._join(threads)

    def _thread(self, what: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(what, *args), daemon=True)
        thread.start()
        return thread

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _enough(self) -> bool:
        self.committed = self._province.committed()
        quotas = self.total >= self._kills and self.committed >= self._results
        done = quotas and self._all_points_met() and len(self.faults) == FAULTS
        return self._over.is_set() or done or time.monotonic() > self._until

    def _all_points_met(self) -> bool:
        return self.died_at.keys() >= ALL_POINTS

    def _run(self, what: Callable[..., None], *args: object) -> None:
        try:
            what(*args)
        except BaseException as error:  # noqa: BLE001  # told by the main thread
            self._failed.append(error)
            self._over.set()

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self._seed}/{name}")

    def _count(self, what: str) -> None:
        with self._lock:
            self.kills[what] += 1

    def _meet(self, victim: Fragile, name: str, points: Sequence[str]) -> None:
        """A death at each of its crash points, while nothing else is wrong."""
        rng = self._rng(f"meet {name}")
        for point in points:
            for passes in (1 if point == "mqtt.connected" else rng.randint(1, 3), 1, 1):
                victim.kill()
                self._count(_kind(name))
                self._die_at(victim, name, f"{point}:{passes}")
                if point in self.died_at:
                    break

    def _torment(self, victim: Fragile, name: str, points: Sequence[str]) -> None:
        """In turn: a kill at a random moment, a death at any of its crash points."""
        rng, turn = self._rng(name), 0
        while not self._over.wait(self._calm * rng.uniform(1, 5)):
            victim.kill()
            self._count(_kind(name))
            if self._over.wait(rng.uniform(0, 1.0)):
                return
            turn += 1
            if turn % 2:
                self._start(victim)
            else:
                self._die_at(victim, name, f"{rng.choice(points)}:{rng.randint(1, 20)}")

    def _die_at(self, victim: Fragile, name: str, point: str) -> None:
        """Starts it with a crash point, waits until it has died there, but not for ever, and starts it without."""
        victim.arm(point)
        self._start(victim)
        end = time.monotonic() + ARMED_S
        while victim.running and time.monotonic() < end and not self._over.wait(0.05):
            pass
        met = victim.died_at()
        victim.kill()
        with self._lock:
            self.kills[_kind(name)] += 1
            if met is not None:
                self.died_at[met] += 1
        victim.arm(None)
        self._start(victim)

    def _start(self, victim: Fragile) -> None:
        try:
            victim.start()
        except ChildProcessError:
            if victim.died_at() is None:  # else it met its crash point before it answered
                raise

    def _torment_unit(self, unit: Process) -> None:
        rng = self._rng("unit")
        while not self._over.wait(self._calm * rng.uniform(8, 15)):
            self._kill_and_start(unit, "unit", rng)

    def _torment_broker(self) -> None:
        rng = self._rng("broker")
        while not self._over.wait(self._calm * rng.uniform(3, 9)):
            set_persistence(self._province.broker, rng.random() < 0.5)
            self._kill_and_start(self._province.broker, "broker", rng)

    def _torment_influx(self) -> None:
        """Each kill comes at once after an ack; what was acked must be readable after it."""
        province, rng = self._province, self._rng("influx")
        while not self._over.wait(self._calm * rng.uniform(2, 6)):
            asked = province.witness.last_acks(10)
            province.influx.kill()
            self._count("influx")
            self._over.wait(rng.uniform(0, 1.0))
            province.influx.start()
            if asked:
                found = stored_of(province.influx, asked)
                province.history.say("read", asked=asked, found=[one for one in asked if one in found])

    def _torment_links(self) -> None:
        """Every bad manner of each link and every bad answer of the database, again and again in another order."""
        province, rng = self._province, self._rng("links")
        proxies: tuple[tuple[str, Proxy], ...] = (
            ("unit", province.unit_proxy),
            ("collector", province.collector_proxy),
        )
        all_faults: list[tuple[str, Proxy, Manner] | Answer] = [
            (*proxy, manner) for proxy in proxies for manner in MANNERS
        ]
        all_faults += ANSWERS
        faults: list[tuple[str, Proxy, Manner] | Answer] = []
        while not self._over.wait(self._calm * rng.uniform(0.5, 1.5)):
            faults = faults or rng.sample(all_faults, len(all_faults))
            fault = faults.pop()
            if isinstance(fault, str):
                self.faults[f"database: {fault}"] += 1
                province.shim.answer = fault
                self._over.wait(rng.uniform(0.2, 1.5))
                province.shim.answer = "pass"
            else:
                name, proxy, manner = fault
                self.faults[f"{name} link: {manner}"] += 1
                proxy.set(manner)
                self._over.wait(rng.uniform(0.2, 2.0))
                proxy.set("pass")

    def _kill_and_start(self, victim: Process, kind: str, rng: random.Random) -> None:
        victim.kill()
        self._count(kind)
        self._over.wait(rng.uniform(0, 1.5))
        victim.start()


def _kind(name: str) -> str:
    return "collector" if name == "collector" else "unit"
