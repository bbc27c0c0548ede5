"""The charts of a line's page, all on one time axis. Pure; fluid in width, so that a phone's letters keep their size.

Shapes that have an extent in time are drawn in percent; polylines stand in a nested, stretched drawing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal, TypeVar

from markupsafe import Markup

from collector.store.row_types import LatencyRow, OutageRow
from collector.svg import element, path, percent, picture
from collector.texts.texts import Texts
from collector.web.axis import Axis
from collector.web.charts import reduce_points

T = TypeVar("T")

Points = list[tuple[float, float]]
"""Shares of the width and values."""

Validity = Literal["counted", "flagged", "excluded", "failed"]

AXIS_HEIGHT = 20.0
MAX_DOTS = 900
MAX_BUCKETS = 240


@dataclass(frozen=True, slots=True)
class Dot:
    """A test on the downloads chart; `mbps` is None where it failed."""

    share: float
    mbps: float | None
    validity: Validity
    label: str


@dataclass(frozen=True, slots=True)
class Trend:
    """The median that judging saw at a time, and its interval where there is one."""

    share: float
    mbps: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Plot:
    """A plotting area of `height` pixels above a time axis; values run from 0 to `top`."""

    t: Texts
    axis: Axis
    height: float
    top: float

    def y(self, value: float) -> float:
        return (self.height - 2) * (1 - min(1.0, value / self.top)) + 1

    def frame(self) -> list[Markup]:
        """Peak hours, grid and the time axis: what lies under the data."""
        parts = [
            element("rect", class_="peak", x=percent(a), width=percent(b - a), y=0, height=self.height)
            for a, b in ((self.axis.share(start), self.axis.share(end)) for start, end in self.axis.peaks())
        ]
        for value in grid(self.top):
            y = self.y(value)
            parts.append(element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y))
        return [*parts, *time_axis(self.t, self.axis, self.height)]

    def figures(self, unit: str) -> list[Markup]:
        """The grid's figures: they lie above the data."""
        return [
            element(
                "text",
                f"{self.t.number(value, 0 if value >= 1 else 1)} {unit}",
                class_="figure",
                x=2,
                y=self.y(value) + 4,
            )
            for value in grid(self.top)
            if value and self.y(value) > 4
        ]

    def trace(self, points: Points, class_: str) -> Markup:
        """A polyline over shares of the width."""
        return self._stretch(element("path", class_=class_, d=self._path_data(points)))

    def band(self, upper: Points, lower: Points, class_: str) -> Markup:
        """The area between two polylines."""
        return self._stretch(element("path", class_=class_, d=self._path_data([*upper, *reversed(lower)]) + "Z"))

    def _path_data(self, points: Points) -> str:
        return path([(1000 * x, self.y(value)) for x, value in points])

    def _stretch(self, shape: Markup) -> Markup:
        box = f"0 0 1000 {self.height:g}"
        return element("svg", shape, viewBox=box, preserveAspectRatio="none", width="100%", height=self.height)


def grid(top: float) -> list[float]:
    """Round values from 0 up to `top`, at most five."""
    size = 10.0 ** len(str(int(top)))
    steps = [s * size for s in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1)]
    step = next(s for s in steps if top / s <= 4.5)
    return [i * step for i in range(int(top / step) + 1)]


def time_axis(t: Texts, axis: Axis, height: float) -> list[Markup]:
    """Tick marks with their labels below a chart; a phone shows every other one."""
    parts = []
    for i, at in enumerate(axis.ticks()):
        share = axis.share(at)
        other = " other" if i % 2 else ""
        parts.append(element("line", class_="tick" + other, x1=percent(share), x2=percent(share), y1=0, y2=height))
        if 0.03 < share < 0.97:
            label = t.tick(at, axis.step_s())
            parts.append(element("text", label, class_="when" + other, x=percent(share), y=height + 14))
    return parts


def downloads(t: Texts, axis: Axis, dots: Sequence[Dot], trend: Sequence[Trend], target: float, label: str) -> Markup:
    """Tests against the target; the median that judging saw, its interval as a band."""
    shown = (d.mbps for d in dots if d.mbps is not None and d.validity != "excluded")  # a forged figure sets no scale
    highest = max([target * 1.25, *(mbps * 1.08 for mbps in shown)])
    plot = Plot(t, axis, 240.0, highest)
    parts = plot.frame()
    with_ends = [(p, p.low, p.high) for p in trend if p.low is not None and p.high is not None]
    if with_ends:
        upper = [(p.share, high) for p, _, high in with_ends]
        parts.append(plot.band(upper, [(p.share, low) for p, low, _ in with_ends], "interval"))
    y = plot.y(target)
    parts.append(element("line", class_="target", x1="0", x2="100%", y1=y, y2=y))
    words = t.text("target {figure} Mb/s", figure=t.target(target))
    parts.append(element("text", words, class_="target-word", x="100%", dx=-6, y=y - 5))
    parts += [_dot(plot, dot) for dot in dots]
    if trend:
        parts.append(plot.trace([(p.share, p.mbps) for p in trend], "median"))
    parts += plot.figures("Mb/s")
    return picture(label, *parts, class_="chart downloads", height=plot.height + AXIS_HEIGHT, width="100%")


def _dot(plot: Plot, dot: Dot) -> Markup:
    title = element("title", dot.label)
    y = plot.height - 7 if dot.mbps is None else plot.y(dot.mbps)
    if dot.mbps is None or dot.validity == "excluded":
        d = "M-3.5 -3.5L3.5 3.5M-3.5 3.5L3.5 -3.5" if dot.mbps is None else "M-3 -3H3V3H-3Z"
        shape = element("path", class_="excluded" if dot.validity == "excluded" else "cross", d=d)
        # Only a nested drawing can stand at a share of the width.
        return element("svg", element("g", title, shape), x=percent(dot.share), y=y, overflow="visible")
    return element("circle", title, class_=f"dot {dot.validity}", cx=percent(dot.share), cy=y, r=3.2)


def limit_dots(tests: Sequence[T], validity: Callable[[T], Validity], at_most: int = MAX_DOTS) -> list[T]:
    """At most `at_most` of some tests, evenly; those that do not count are kept as far as possible."""
    if len(tests) <= at_most:
        return list(tests)
    rare: list[int] = []
    common: list[int] = []
    for place, test in enumerate(tests):
        (common if validity(test) == "counted" else rare).append(place)
    rare = rare[:: -(-len(rare) // (at_most // 2))] if len(rare) > at_most // 2 else rare
    common = common[:: max(1, -(-len(common) // (at_most - len(rare))))]
    return [tests[place] for place in sorted([*rare, *common])]


def latency(t: Texts, axis: Axis, rows: Sequence[LatencyRow], loaded: Points, label: str) -> Markup:
    """Idle round trip as a line with its 95th percentile as a band; under load as diamonds, from the downloads."""
    idle = bucket_points([(axis.share(r.at), r.rtt_p50_ms) for r in rows if r.rtt_p50_ms is not None], MAX_BUCKETS)
    high = bucket_points([(axis.share(r.at), r.rtt_p95_ms) for r in rows if r.rtt_p95_ms is not None], MAX_BUCKETS)
    values = sorted(value for _, value in [*idle, *high, *loaded])
    # One wild echo must not flatten all the others: the scale holds 98 of 100, the rest touch its top.
    top = 1.15 * values[min(len(values) - 1, int(len(values) * 0.98))] if values else 50.0
    plot = Plot(t, axis, 110.0, max(5.0, top))
    parts = plot.frame()
    pieces = split_at_gaps(idle)
    if len(high) == len(idle):
        upper = iter(high)
        bands = [(list(islice(upper, len(piece))), piece) for piece in pieces]
        parts += [plot.band(above, piece, "spread") for above, piece in bands if len(piece) > 1]
    parts += [plot.trace(piece, "idle") for piece in pieces]
    for share, value in reduce_points(loaded, MAX_DOTS):
        diamond = element("path", class_="loaded", d="M0 -3.6L3.6 0L0 3.6L-3.6 0Z")
        parts.append(element("svg", diamond, x=percent(share), y=plot.y(value), overflow="visible"))
    parts += plot.figures("ms")
    return picture(label, *parts, class_="chart latency", height=plot.height + AXIS_HEIGHT, width="100%")


def loss(t: Texts, axis: Axis, rows: Sequence[LatencyRow], label: str) -> Markup:
    """Lost echoes in percent of those sent, a bar for each slice of the time that lost any."""
    counts: dict[int, tuple[int, int]] = {}
    for row in rows:
        slot = int(axis.share(row.at) * MAX_BUCKETS)
        sent, received = counts.get(slot, (0, 0))
        counts[slot] = sent + row.sent, received + row.received
    share = {slot: 100 * (1 - received / sent) for slot, (sent, received) in counts.items() if sent}
    plot = Plot(t, axis, 60.0, max([5.0, *share.values()]) * 1.15)
    parts = plot.frame()
    for slot, value in sorted(share.items()):
        if value > 0:
            y = plot.y(value)
            x, width = percent(slot / MAX_BUCKETS), percent(1 / MAX_BUCKETS)
            title = element("title", f"{t.number(value)} %")
            parts.append(
                element("rect", title, class_="loss-bar", x=x, width=width, y=y, height=max(2.0, plot.height - y))
            )
    parts += plot.figures("%")
    return picture(label, *parts, class_="chart loss", height=plot.height + AXIS_HEIGHT, width="100%")


def outages(t: Texts, axis: Axis, rows: Sequence[OutageRow], label: str) -> Markup:
    """Times without any answer, as bars."""
    height = 22.0
    parts = [element("rect", class_="track", x="0", width="100%", y=4, height=height - 8)]
    for row in rows:
        start = max(0.0, axis.share(row.at))
        end = min(1.0, axis.share(row.at) + row.duration_s / axis.span_s)
        if end <= start:
            continue
        title = element("title", f"{t.minute(row.at)}: {t.span(row.duration_s)}")
        width = percent(max(end - start, 0.002))
        parts.append(element("rect", title, class_="outage", x=percent(start), width=width, y=2, height=height - 4))
    parts += time_axis(t, axis, height)
    return picture(label, *parts, class_="chart outages", height=height + AXIS_HEIGHT, width="100%")


def bucket_points(points: Points, at_most: int) -> Points:
    """One point for each slice of the axis that has any: its median, at the slice's mean time."""
    if len(points) <= at_most:
        return points
    slices: dict[int, Points] = {}
    for share, value in points:
        slices.setdefault(int(share * at_most), []).append((share, value))
    return [
        (sum(x for x, _ in group) / len(group), sorted(v for _, v in group)[len(group) // 2])
        for _, group in sorted(slices.items())
    ]


def split_at_gaps(points: Points) -> list[Points]:
    """The pieces of a series between its gaps: a line across an hour of silence would invent data."""
    steps = sorted(b[0] - a[0] for a, b in pairwise(points))
    if not steps:
        return [points] if points else []
    longest = max(6 * steps[len(steps) // 2], 0.02)
    pieces: list[Points] = [[points[0]]]
    for before, point in pairwise(points):
        if point[0] - before[0] > longest:
            pieces.append([])
        pieces[-1].append(point)
    return pieces
