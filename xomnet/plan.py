"""The plan of measuring: how often and at which hours a line is tested; one for unit, server, Grafana and simulation.

Hours are those of the clock on the wall.
"""

from dataclasses import dataclass

from xomnet.contract.messages import Access

PROVINCE_TIME = "Asia/Ho_Chi_Minh"
"""The time zone of the province."""

PEAK_HOURS = (19, 23)
"""The peak hours: from the first on, before the last."""


def is_peak(hour: float) -> bool:
    """True for an hour of the day within the peak hours."""
    return PEAK_HOURS[0] <= hour < PEAK_HOURS[1]


@dataclass(frozen=True, slots=True)
class DayPlan:
    """The tests of a day: one in each slot, which is [first hour, last hour)."""

    slots: tuple[tuple[int, int], ...]

    @property
    def tests(self) -> int:
        return len(self.slots)

    @property
    def peak_tests(self) -> int:
        return sum(is_peak(first) for first, _ in self.slots)


METERED = DayPlan(((6, 12), (12, 18), (19, 21), (21, 23)))
UNMETERED = DayPlan(((0, 6), (6, 11), (11, 15), (15, 19), (19, 20), (20, 21), (21, 22), (22, 23)))


def day_plan(metered: bool) -> DayPlan:
    """The plan of a metered or of an unmetered line."""
    return METERED if metered else UNMETERED


def is_metered(access: Access) -> bool:
    """Whether a line of this access type is metered, if its settings do not say."""
    return access == "mobile"


def tests_a_day(access: Access) -> int:
    """How many tests the server expects of a line: it does not know the unit's settings."""
    return day_plan(is_metered(access)).tests
