"""Two months of a small province in a store, for the tests of the monthly report: every verdict, change and trouble."""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from collector.judge.verdict import Month
from collector.store import Store
from collector.store.points import Point, point_of
from xomnet.contract.messages import Access, Outage, OutageResult, Speed, SpeedResult
from xomnet.plan import tests_a_day
from xomnet.registry.registry import LineRow, Registry
from xomnet.targets import Target, Targets

OCTOBER, NOVEMBER = Month(2026, 10), Month(2026, 11)
AFTER = dt.datetime(2026, 12, 3, 2, 30, tzinfo=dt.UTC)
"""When November is over."""
TARGET_MBPS: dict[Access, float] = {"mobile": 70, "fixed": 150}
SINCE = dt.date(2024, 10, 8)
TARGETS = Targets(
    [Target(access=a, from_=SINCE, down_mbps=mbps, source="137/KH-UBND") for a, mbps in TARGET_MBPS.items()]
)

PLACES = {
    "Nam Định/Hải Hậu/Hải Minh": ("Xóm 5", "Xóm 8", "Xóm Xuân Hà"),
    "Nam Định/Hải Hậu/Hải Đông": ("Xóm 2", "Xóm Trung Đồng"),
    "Nam Định/Giao Thủy/Giao Thiện": ("Xóm 1", "Xóm 2", "Xóm 7"),
    "Nam Định/Giao Thủy/Bạch Long": ("Xóm Thiện Xuân", "Xóm Hoành Lộ"),
    "Nam Định/Nghĩa Hưng/Nghĩa Lợi": ("Xóm Đông", "Xóm Ngọc Lâm", "Đội 12"),
    "Nam Định/Nghĩa Hưng/Rạng Đông": ("Khu 3", "Khu Hưng Long"),
    "Nam Định/Ý Yên/Yên Xá": ("Thôn Vạn Điểm", "Thôn Tống Xá"),
    "Nam Định/Ý Yên/Yên Ninh": ("Thôn La Xuyên", "Thôn Ninh Xá Thượng", "Thôn Trịnh Xá"),
    "Nam Định/Xuân Trường/Xuân Hồng": ("Xóm 14", "Xóm Hành Thiện"),
    "Nam Định/Vụ Bản/Kim Thái": ("Thôn Tiền", "Thôn Vân Cát", "Thôn Quả Linh"),
    "Nam Định/Trực Ninh/Phương Định": ("Xóm Cự Trữ", "Xóm Cổ Chất", "Xóm Trung Lao"),
}


@dataclass(frozen=True)
class Kind:
    """How a line does: medians of October and November over the target, None for no test at all."""

    then: float | None
    now: float | None
    spread: float = 0.18
    plan: float | None = None
    from_: dt.date = dt.date(2026, 1, 1)
    fails: int = 0
    """Tests in November that fail while the line is down."""
    outages: int = 0
    quiet: range = range(0)
    """Days of November on which the unit says nothing."""
    spoilt: bool = False
    """Others use the line at each test."""
    own_target: float | None = None


GOOD, BETTER, BAD = Kind(1.3, 1.32), Kind(1.6, 1.55), Kind(0.72, 0.7)
KINDS = (
    GOOD,
    BETTER,
    Kind(1.15, 1.12, outages=2),
    Kind(0.7, 1.35),
    BETTER,
    Kind(1.4, 0.75, fails=9, outages=5),
    GOOD,
    Kind(1.01, 1.0, spread=0.3),
    BETTER,
    Kind(None, 1.3, from_=dt.date(2026, 11, 25)),
    GOOD,
    BAD,
    Kind(1.2, 1.2, quiet=range(7, 19)),
    BETTER,
    Kind(None, None),
    Kind(0.64, 0.65, plan=100),
    GOOD,
    Kind(1.25, 1.2, spoilt=True),
    Kind(1.3, 1.3, own_target=50),
    Kind(1.8, 1.85, fails=2, outages=1),
)
QUIET = 8
"""A unit that says nothing for twelve days."""
ISPS = ("VNPT", "Viettel", "FPT", "MobiFone", "VinaPhone")


def rows_and_kinds() -> list[tuple[LineRow, Kind]]:
    """Each hamlet has a fixed and a mobile line; some a second mobile one."""
    found: list[tuple[LineRow, Kind]] = []
    hamlets = [(hamlet, area) for area, names in PLACES.items() for hamlet in names]
    for number, (hamlet, area) in enumerate(hamlets):
        lines: list[tuple[str, Access, str]] = [
            ("ftth", "fixed", ISPS[number % 3]),
            ("4g", "mobile", ISPS[3 + number % 2]),
        ]
        if number % 7 == 3:
            lines.append(("4g-2", "mobile", "Viettel"))
        for line, access, isp in lines:
            kind = KINDS[len(found) % len(KINDS)]
            if number == QUIET:
                kind = replace(kind, quiet=range(7, 19))
            row = LineRow(
                f"nd-{number + 1:04}",
                line,
                access,
                hamlet,
                area,
                isp,
                kind.from_,
                plan_mbps=kind.plan,
                target_mbps=kind.own_target,
            )
            found.append((row, kind))
    return found


def registry() -> Registry:
    return Registry([row for row, _ in rows_and_kinds()], TARGETS)


def fill(store: Store) -> None:
    """October and November of every line."""
    chance = random.Random(11)
    points: list[Point] = []
    for number, (row, kind) in enumerate(rows_and_kinds()):
        points += _line(number, row, kind, chance)
    assert store.write(points) == []


def _line(number: int, row: LineRow, kind: Kind, chance: random.Random) -> Iterator[Point]:
    base = {"v": 1, "agent": row.agent, "line": row.line, "spool": UUID(int=number + 1), "boot": UUID(int=9)}
    seq = 0
    for month, ratio in ((OCTOBER, kind.then), (NOVEMBER, kind.now)):
        fails = kind.fails if month == NOVEMBER else 0
        for day in range(1, month.days + 1):
            if ratio is None or (month == NOVEMBER and day in kind.quiet):
                continue
            middle = ratio * (row.target_mbps or TARGET_MBPS[row.access])
            for hour in (9, 14, 19.4, 21.3) if tests_a_day(row.access) == 4 else (1, 6, 9, 14, 19.3, 20.2, 21.1, 22.5):
                at = month.since() + dt.timedelta(days=day - 1, hours=hour + chance.uniform(0, 0.4))
                if at.date() < row.from_:
                    continue
                seq += 1
                flags: tuple[str, ...] = ("cross_traffic",) if kind.spoilt else ()
                data = Speed(
                    engine="http", server="s", down_mbps=middle * chance.lognormvariate(0, kind.spread), flags=flags
                )
                if fails and day > 12 and hour > 20 and day % 2:
                    fails -= 1
                    data = Speed(engine="http", server="s", error="unreachable", flags=("link_down",))
                    seq += 1
                    beside = Speed(
                        engine="http", server="s", error="unreachable", flags=("link_down",), asked="confirmation"
                    )
                    again = at + dt.timedelta(minutes=20)
                    yield point_of(SpeedResult(**base, seq=seq, at=again, clock="synced", data=beside), row)  # type: ignore[arg-type]
                    seq += 1
                yield point_of(SpeedResult(**base, seq=seq, at=at, clock="synced", data=data), row)  # type: ignore[arg-type]
    for n in range(kind.outages):
        seq += 1
        at = NOVEMBER.since() + dt.timedelta(days=3 * n, hours=-1)  # the first began in October
        lost = Outage(duration_s=7200 + 600 * n, failed_probes=20)
        yield point_of(OutageResult(**base, seq=seq, at=at, clock="synced", data=lost), row)  # type: ignore[arg-type]
