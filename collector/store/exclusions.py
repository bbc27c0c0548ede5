"""What does not count, and why. Stored results never change; entries of this table say what is left out of figures."""

import datetime as dt
from typing import Literal

from msgspec import Struct


class Exclusion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. Entries are only added; where several hold for a result, the latest decides."""

    action: Literal["exclude", "count"]
    scope: Literal["unit", "line", "server"]
    agent: str = ""
    line: str = ""
    server: str = ""
    basis: Literal["received", "measured"]
    """Which time of a result `since` and `until` speak of: a thief may write any time of measurement."""
    since: dt.datetime
    until: dt.datetime | None = None
    reason: str
    """A word that pages and reports name in the reader's language: `quarantine`."""
    note: str = ""
    by: str
    at: dt.datetime
    """When it was entered."""
