"""Which lines are asked for, by state, access, provider and area: of the overview and of REST."""

import unicodedata
from dataclasses import dataclass, replace
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from msgspec import Meta

from collector.judge.line_states import LineStatus
from collector.web.parameters import Parameters
from xomnet.area import join_levels, levels
from xomnet.contract.messages import Access
from xomnet.states import State

Facet = Literal["state", "access", "isp", "area"]


def normalized_levels(path: str) -> tuple[str, ...]:
    """The levels of an area's path, in one Unicode form: macOS types "ị" as two characters. Empty ones are left out."""
    return tuple(name for level in levels(unicodedata.normalize("NFC", path)) if (name := level.strip()))


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines are asked for. Empty means all; several values of one facet mean any of them."""

    state: tuple[State, ...] = ()
    access: tuple[Access, ...] = ()
    isp: tuple[str, ...] = ()
    area: tuple[str, ...] = ()
    """The first levels of the area's path."""

    def matches(self, status: LineStatus, ignoring: Facet | None = None) -> bool:
        """True where the line is asked for; `ignoring` leaves one facet out, to count what its chips would show."""
        row = status.row
        return (
            (ignoring == "state" or not self.state or status.judgement.state in self.state)
            and (ignoring == "access" or not self.access or row.access in self.access)
            and (ignoring == "isp" or not self.isp or unicodedata.normalize("NFC", row.isp) in self.isp)
            and (ignoring == "area" or normalized_levels(row.area)[: len(self.area)] == self.area)
        )

    def toggle(self, facet: Literal["state", "access", "isp"], value: str) -> "Filter":
        """The filter after a chip was pressed."""
        chosen = getattr(self, facet)
        rest = tuple(v for v in chosen if v != value)
        return replace(self, **{facet: rest if value in chosen else (*chosen, value)})

    def href(self) -> str:
        """The address of the page with this filter."""
        pairs = [(facet, value) for facet in ("state", "access", "isp") for value in getattr(self, facet)]
        if self.area:
            pairs.append(("area", join_levels(self.area)))
        return "/?" + urlencode(pairs, quote_via=quote, safe="/") if pairs else "/"


class FilterParameters(Parameters, frozen=True, kw_only=True):
    """A filter in a query. An area or a provider that no line has is no error: it matches nothing."""

    state: Annotated[tuple[State, ...], Meta(description="Any of these")] = ()
    access: Annotated[tuple[Access, ...], Meta(description="Any of these")] = ()
    isp: Annotated[tuple[str, ...], Meta(description="Any of these")] = ()
    area: Annotated[str | None, Meta(description="The first levels of the area, such as Ninh Bình/xã Hải Anh")] = None

    def filter(self) -> Filter:
        return Filter(
            state=self.state,
            access=self.access,
            isp=tuple(unicodedata.normalize("NFC", isp) for isp in self.isp),
            area=normalized_levels(self.area or ""),
        )
