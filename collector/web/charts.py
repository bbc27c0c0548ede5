"""The small charts of the overview, as pure functions: the bar of a median, the sparkline, the shape of a state."""

import datetime as dt
from collections.abc import Sequence
from statistics import median

from markupsafe import Markup

from collector.judge.assess import Judgement, counted_mbps
from collector.store.row_types import Sample
from collector.svg import element, path, percent, picture
from xomnet.states import State

FULL_RATIO = 1.6
"""The bar's right end, in targets: the target is the same vertical line in every row."""
TARGET_AT = 1 / FULL_RATIO

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 26.0
SPARK_POINTS = 48


def bar(judged: Judgement, label: str) -> Markup:
    """Median against target, with the interval of the median as a whisker. Fluid in width."""
    parts = [element("rect", class_="track", x="0", y="20%", width="100%", height="60%")]
    if judged.ratio is not None:
        share = _share(judged.ratio)
        parts.append(element("rect", class_="fill", x="0", y="20%", width=percent(share), height="60%"))
        if judged.ratio > FULL_RATIO:
            parts.append(element("text", "»", class_="more", x="100%", y="50%", dx=-3, dy="0.35em"))
    beyond = judged.ratio is not None and judged.ratio > FULL_RATIO
    if judged.low_mbps is not None and judged.high_mbps is not None and not beyond:
        low, high = (percent(_share(end / judged.target_mbps)) for end in (judged.low_mbps, judged.high_mbps))
        parts.append(element("line", class_="whisker", x1=low, x2=high, y1="50%", y2="50%"))
    at = percent(TARGET_AT)
    parts.append(element("line", class_="target", x1=at, x2=at, y1="0", y2="100%"))
    return picture(label, *parts, class_=f"bar {judged.state}")


def _share(ratio: float) -> float:
    return min(1.0, max(0.0, ratio / FULL_RATIO))


def sparkline(
    samples: Sequence[Sample], target_mbps: float, since: dt.datetime, until: dt.datetime, state: State, label: str
) -> Markup:
    """Tests that count from `since` to `until`, the target at the same height in every row; crosses are failures."""
    span = max((until - since).total_seconds(), 1.0)

    def x(at: dt.datetime) -> float:
        return 2 + (SPARK_WIDTH - 4) * min(1.0, max(0.0, (at - since).total_seconds() / span))

    def y(mbps: float) -> float:
        return 2 + (SPARK_HEIGHT - 4) * (1 - _share(mbps / target_mbps))

    inside = [s for s in samples if since <= s.at <= until]
    points = [(x(s.at), y(value)) for s in inside if (value := counted_mbps(s)) is not None]
    failed = [(x(s.at), SPARK_HEIGHT - 4) for s in inside if s.error is not None and s.excluded is None]
    points = reduce_points(points, SPARK_POINTS)
    parts = [element("line", class_="target", x1=0, x2=SPARK_WIDTH, y1=y(target_mbps), y2=y(target_mbps))]
    if points:
        parts.append(element("path", class_="trace", d=path(points)))
        parts.append(element("circle", class_="last", cx=points[-1][0], cy=points[-1][1], r=2))
    parts += [cross(*at) for at in reduce_points(failed, 12)]
    return picture(
        label, *parts, class_=f"spark {state}", viewBox=f"0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}", width=SPARK_WIDTH
    )


def cross(x: float, y: float, r: float = 2.5) -> Markup:
    """The mark of a failed test."""
    d = path([(x - r, y - r), (x + r, y + r)]) + path([(x - r, y + r), (x + r, y - r)])
    return element("path", class_="cross", d=d)


def reduce_points(points: Sequence[tuple[float, float]], at_most: int) -> list[tuple[float, float]]:
    """At most `at_most` points: neighbours become one, at their mean x and median y."""
    if len(points) <= at_most:
        return list(points)
    size = -(-len(points) // at_most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), median(y for _, y in group)) for group in groups]


def mark(state: State, x: float, y: float, r: float = 6) -> Markup:
    """A state's shape, as its sign in `LOOKS`: ▼ ○ · ◐ – ●; so that colour never stands alone."""
    match state:
        case "short":
            points = [(x - r, y - r * 0.8), (x + r, y - r * 0.8), (x, y + r)]
            return element("path", class_=f"mark {state}", d=path(points) + "Z")
        case "silent":
            return element("circle", class_=f"mark {state}", cx=x, cy=y, r=r - 1)
        case "no_data":
            reach = element("circle", class_="reach", cx=x, cy=y, r=r)  # so that a pointer meets it as easily
            return element("g", reach, element("circle", cx=x, cy=y, r=r / 2), class_=f"mark {state}")
        case "uncertain":
            half = f"M{x:.2f} {y - r:.2f}A{r:g} {r:g} 0 0 0 {x:.2f} {y + r:.2f}Z"
            ring = element("circle", class_="ring", cx=x, cy=y, r=r - 1)
            return element("g", ring, element("path", d=half), class_=f"mark {state}")
        case "not_assessable":
            return element("rect", class_=f"mark {state}", x=x - r, y=y - r / 3, width=2 * r, height=2 * r / 3)
        case "meeting":
            return element("circle", class_=f"mark {state}", cx=x, cy=y, r=r)
