"""The map of the overview: hamlets by their coordinates, drawn without tiles. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from collector.svg import element, picture
from collector.web.charts import mark
from xomnet.states import State, worst_first

WIDTH, MARGIN = 360.0, 30.0
MIN_HEIGHT, MAX_HEIGHT = 200.0, 460.0
KM_PER_DEGREE = 111.32
SCALE_ROOM = 16.0
SMALLEST_KM = 2.0
"""A single hamlet is not blown up to fill the map."""


@dataclass(frozen=True, slots=True)
class MapPlace:
    """A line on the map. `zone` is the name of the area that its label is for."""

    lat: float
    lon: float
    state: State
    href: str
    label: str
    zone: str


def draw(places: Sequence[MapPlace], label: str) -> Markup | None:
    """The map, north up, or None without places. Lines at one spot are one mark, the worst of them."""
    if not places:
        return None
    middle = (min(p.lat for p in places) + max(p.lat for p in places)) / 2
    east_km = KM_PER_DEGREE * max(0.05, math.cos(math.radians(middle)))
    west, north = min(p.lon for p in places), max(p.lat for p in places)
    wide = (max(p.lon for p in places) - west) * east_km
    high = (north - min(p.lat for p in places)) * KM_PER_DEGREE
    inner = WIDTH - 2 * MARGIN
    scale = min(inner / max(wide, SMALLEST_KM), (MAX_HEIGHT - 2 * MARGIN) / max(high, SMALLEST_KM))
    height = min(MAX_HEIGHT, max(MIN_HEIGHT, high * scale + 2 * MARGIN)) + SCALE_ROOM

    def spot(place: MapPlace) -> tuple[float, float]:
        x = (WIDTH - wide * scale) / 2 + (place.lon - west) * east_km * scale
        y = (height - SCALE_ROOM - high * scale) / 2 + (north - place.lat) * KM_PER_DEGREE * scale
        return x, y

    spots: dict[tuple[int, int], list[MapPlace]] = {}
    zones: dict[str, list[tuple[float, float]]] = {}
    for place in places:
        x, y = spot(place)
        spots.setdefault((round(x / 3), round(y / 3)), []).append(place)
        zones.setdefault(place.zone, []).append((x, y))
    parts = [element("rect", class_="ground", width="100%", height="100%", rx=6)]
    parts += _zone_labels(zones, height)
    # The worst are drawn last, above the others.
    for group in sorted(spots.values(), key=lambda g: -min(worst_first(p.state) for p in g)):
        worst = min(group, key=lambda p: worst_first(p.state))
        title = element("title", "\n".join(p.label for p in group))
        parts.append(element("a", title, mark(worst.state, *spot(worst), 7), href=worst.href))
    parts += _scale_bar(scale, height)
    return picture(label, *parts, class_="map", viewBox=f"0 0 {WIDTH:g} {height:.0f}")


def _zone_labels(zones: dict[str, list[tuple[float, float]]], height: float) -> list[Markup]:
    """A name above the middle of each zone's marks; a name that would lie on another one is left out."""
    labels: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for zone, spots in sorted(zones.items(), key=lambda item: -len(item[1])):
        half = len(zone) * 3.4
        x = sum(x for x, _ in spots) / len(spots)
        x = min(WIDTH - half - 4, max(half + 4, x))
        y = max(14.0, min(y for _, y in spots) - 12)
        if y > height - 24 or any(abs(x - x2) < half + h2 and abs(y - y2) < 14 for x2, y2, h2 in taken):
            continue
        taken.append((x, y, half))
        labels.append(element("text", zone, class_="zone", x=x, y=y))
    return labels


def _scale_bar(pixels_per_km: float, height: float) -> list[Markup]:
    steps = [km for km in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if km * pixels_per_km <= WIDTH / 4]
    km = steps[-1] if steps else 0.5
    x2, y = 14 + km * pixels_per_km, height - 12
    d = f"M14 {y - 5:.1f}V{y:.1f}H{x2:.1f}V{y - 5:.1f}"
    return [
        element("path", class_="scale", d=d),
        element("text", f"{km:g} km", class_="scale-word", x=x2 + 6, y=y),
    ]
