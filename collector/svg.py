"""Inline SVG as safe markup. Every text and attribute is escaped; there are no inline styles (the page's policy)."""

from markupsafe import Markup, escape


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element. `class_` is class, other underscores are hyphens; None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{name}{written}/>")  # noqa: S704  # name is ours, values are escaped
    return Markup(f"<{name}{written}>{Markup('').join(children)}</{name}>")  # noqa: S704  # join escapes


def picture(label: str, *children: Markup, class_: str, **attributes: str | float | None) -> Markup:
    """An image with its words: `label` is what a screen reader says, and the tooltip."""
    return element("svg", element("title", label), *children, class_=class_, role="img", aria_label=label, **attributes)


def path(points: list[tuple[float, float]]) -> str:
    """The `d` of a polyline."""
    return "M" + "L".join(f"{_value(x)} {_value(y)}" for x, y in points) if points else ""


def percent(share: float) -> str:
    """A share of the width or height, 0 to 1, as SVG writes it."""
    return f"{_value(share * 100)}%"


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"
