"""What Grafana does to a query before the database sees it, as its InfluxDB data source and its variables do it.

`$timeFilter` and `$__interval` as in pkg/tsdb/influxdb/models/query.go; `${name:regex}` as in the `regex` format of
public/app/features/templating/formatRegistry.ts with kbn.regexEscape; a variable's own "all" value goes in as it is.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from xomnet.plan import PROVINCE_TIME

Choice = Mapping[str, Sequence[str]]
"""Variable -> values chosen; one that is absent is at "all"."""


class Span(NamedTuple):
    since: dt.datetime
    until: dt.datetime

    @property
    def interval_s(self) -> int:
        """The step of a chart: Grafana divides the range by the panel's width in pixels."""
        return 600 if self.until - self.since <= dt.timedelta(days=1) else 3600


def span(text: str, now: dt.datetime) -> Span:
    """A relative range: `10m`, `now-30d`, `now/M`, up to now."""
    if text == "now/M":
        local = now.astimezone(ZoneInfo(PROVINCE_TIME))
        return Span(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0), now)
    found = re.fullmatch(r"(?:now-)?(\d+)([mhd])", text)
    assert found, text
    return Span(
        now
        - int(found[1])
        * {"m": dt.timedelta(minutes=1), "h": dt.timedelta(hours=1)}.get(found[2], dt.timedelta(days=1)),
        now,
    )


def panel_span(dashboard: Mapping[str, Any], panel: Mapping[str, Any], now: dt.datetime) -> Span:
    """The range that a panel's queries name, or its own, or its dashboard's."""
    named = re.search(r"now\(\) - (\w+)", " ".join(target["query"] for target in panel.get("targets", ())))
    return span(named[1] if named else panel.get("timeFrom", dashboard["time"]["from"]), now)


def alls(dashboard: Mapping[str, Any]) -> dict[str, str]:
    """Variable -> the expression that stands for everything."""
    return {one["name"]: one["allValue"] for one in dashboard["templating"]["list"] if one["includeAll"]}


def expand(query: str, choice: Choice, alls: Mapping[str, str], when: Span) -> str:
    """The query as the database gets it. Raises KeyError for a variable that the dashboard does not have."""

    def value(found: re.Match[str]) -> str:
        name, form = found[1], found[2]
        if name == "__from":
            return str(int(when.since.timestamp() * 1000))
        if form is None:
            (one,) = choice[name]
            return one.replace("\\", "\\\\").replace("'", "\\'")
        assert form == "regex", found[0]
        return regex(choice[name]) if name in choice else alls[name]

    text = re.sub(r"\$\{(\w+)(?::(\w+))?\}", value, query)
    since, until = (int(t.timestamp() * 1000) for t in when)
    text = text.replace("$timeFilter", f"time >= {since}ms and time <= {until}ms")
    text = text.replace("now()", f"{until}ms")  # the database's clock, which a seeded province does not follow
    text = text.replace("$__interval", f"{when.interval_s}s")
    assert not re.search(r"\$[\w{]", text), text
    return text


def regex(values: Sequence[str]) -> str:
    escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", lambda letter: "\\" + letter[0], value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
