"""The chart as inline SVG, for page and print: each bar is the whole of its lines, in parts by verdict. Pure.

A part carries its mark and number, so that a copy without colours can be read.
"""

from markupsafe import Markup

from collector.judge.verdict import VerdictName
from collector.report.blocks import Bar, Bars
from collector.report.texts import LOOKS
from collector.svg import element, picture

WIDTH, LABEL, BAR, GAP, LEGEND = 680.0, 190.0, 20.0, 8.0, 26.0
LETTER = 6.6
"""Of the label's type, in the mean."""
FONTS = "Times New Roman, Liberation Serif, DejaVu Serif, serif"
FITS_MARK = 30.0
FITS_NUMBER = 14.0


def svg(chart: Bars) -> Markup:
    """A picture as wide as its column."""

    rows = [row for n, bar in enumerate(chart.bars) for row in _bar(bar, LEGEND + n * (BAR + GAP))]
    height = LEGEND + len(chart.bars) * (BAR + GAP)
    description = "; ".join(f"{bar.label}: " + ", ".join(_bar_texts(chart, bar)) for bar in chart.bars)
    return picture(
        f"{chart.title}. {description}",
        *_legend(chart),
        *rows,
        class_="bars",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        width="100%",
        font_family=FONTS,
    )


def _bar_texts(chart: Bars, bar: Bar) -> list[str]:
    return [f"{chart.legend[name]} {bar.counts[name]}" for name in LOOKS if bar.counts[name]]


def _legend(chart: Bars) -> list[Markup]:
    parts, x = [], LABEL
    for name in LOOKS:
        word = chart.legend[name]
        parts.append(_box(name, x, 4, 11, 11))
        parts.append(_text(word, x + 15, 14, 11))
        x += 30 + LETTER * len(word)
    return parts


def _bar(bar: Bar, y: float) -> list[Markup]:
    whole = sum(bar.counts.values())
    label = bar.label if len(bar.label) * LETTER <= LABEL + 20 else bar.label[: int(LABEL / LETTER)] + "…"
    parts = [_text(label, LABEL - 8, y + 14, 12, anchor="end")]
    x = LABEL
    for name, look in LOOKS.items():
        width = (WIDTH - LABEL) * bar.counts[name] / whole
        if not width:
            continue
        parts.append(_box(name, x, y, width, BAR))
        number = str(bar.counts[name])
        word = f"{look.mark} {number}" if width >= FITS_MARK else number if width >= FITS_NUMBER else ""
        if word:
            colour = look.colour if name == "unmeasured" else "#fff"
            parts.append(_text(word, x + width / 2, y + 14, 12, anchor="middle", colour=colour))
        x += width
    return parts


def _box(name: VerdictName, x: float, y: float, width: float, height: float) -> Markup:
    colour = LOOKS[name].colour
    hollow = name == "unmeasured"
    return element(
        "rect",
        x=x + 0.5,
        y=y + 0.5,
        width=max(width - 1, 0.5),
        height=height - 1,
        fill="#fff" if hollow else colour,
        stroke=colour,
        stroke_dasharray="3 2" if hollow else None,
    )


def _text(word: str, x: float, y: float, size: float, anchor: str = "start", colour: str = "#111") -> Markup:
    return element("text", word, x=x, y=y, font_size=size, text_anchor=anchor, fill=colour)
