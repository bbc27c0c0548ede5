"""What goes wrong in a request, as a value that both the page and the REST interface can show."""

import datetime as dt


class RequestError(Exception):
    """`what` was wrong, `where` it stood, what is `allowed` instead; `status` is the HTTP status."""

    def __init__(
        self, status: int, what: str, where: str, allowed: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{where}: {what}")
        self.status, self.what, self.where, self.allowed = status, what, where, allowed
        self.retry_after_s = retry_after_s


def bad_parameter(name: str, found: str, allowed: str) -> RequestError:
    """400: a query parameter that can't be used."""
    shown = found if len(found) <= 80 else found[:79] + "…"
    return RequestError(400, f"found {shown!r}", f"query parameter {name}", allowed)


def no_such_path(path: str) -> RequestError:
    """404: a path that no route has, or whose parts are not of the form that the route declares."""
    return RequestError(404, "Not Found", path)


def unknown_line(agent: str, line: str) -> RequestError:
    """404: no such line in the registry."""
    return RequestError(404, f"no line {agent} / {line} in the registry", "path", "a line that /api/v1/lines lists")


def unknown_unit(agent: str) -> RequestError:
    """404: no such unit in the registry."""
    return RequestError(404, f"no unit {agent} in the registry", "path", "a unit that /api/v1/agents lists")


def removed_line(agent: str, line: str, at: dt.datetime) -> RequestError:
    """404: a line that is no longer in the registry, so not judged."""
    what = f"{agent} / {line} was taken out of the registry, seen {at:%Y-%m-%dT%H:%M:%SZ}, and is no longer judged"
    return RequestError(404, what, "path", f"its history: /api/v1/lines/{agent}/{line}/speed and …/latency")


def not_counted_yet() -> RequestError:
    """503: the manifests of the last days are still being compared with the store."""
    return RequestError(503, "completeness is still being worked out", "completeness", "the same request, later", 10)


def not_judged_yet() -> RequestError:
    """503: the first snapshot is still being taken."""
    return RequestError(503, "the lines have not been judged yet", "snapshot", "the same request, later", 2)
