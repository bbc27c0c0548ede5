"""One real test of a line against its target: it is kept as a result and counted in the line's bytes."""

from agent.check.delivery import of_result
from agent.check.service import Service
from agent.errors import RequestRefused
from agent.settings import LineSettings
from xomnet.check.finding import Finding, Said, fail, ok, say, warn
from xomnet.contract.commands import Tested

NO_COUNT: dict[str, Said] = {
    "cross_traffic": say("other devices use the line: unplug them and test again"),
    "cpu_bound": say("the unit was too busy: stop other programs on it"),
    "throttled": say("heat or low voltage slowed the unit down: improve ventilation and power supply"),
    "wifi": say("use a cable: a test over Wi-Fi does not count"),
    "link_below_target": say("use a cable with all 8 wires, a gigabit port at its other end, and a Pi 4 or 5"),
}
"""Flags that keep a figure from counting, and what to do."""
GUIDE = say("look up the code in the technician's guide")


def test(service: Service, line: LineSettings, target_mbps: float) -> Finding:
    """Takes up to 40 MB of a metered line, 200 MB of another. Raises ServiceSilent."""
    try:
        found = service.measure(line)
    except RequestRefused as refused:
        return refusal(line.line, refused)
    if found.seq is not None and (turned_down := of_result(service, found.seq)) is not None:
        figure = of_test(line.line, found, target_mbps)
        return fail(line.line, (*figure.found, *turned_down.found), turned_down.remedy)
    return of_test(line.line, found, target_mbps)


def of_test(name: str, found: Tested, target_mbps: float) -> Finding:
    """What a test says of a line. A slow line is a result: the unit does its work."""
    if found.down_mbps is None:
        what = say("no figure: {code}: {detail}", code=found.error or "?", detail=found.error_detail or "")
        return fail(name, what, GUIDE)
    figure = say("{n} Mb/s of {target}", n=_not_across(found.down_mbps, target_mbps), target=target_mbps)
    moved = say("{n} MB", n=round((found.bytes or 0) / 1e6))
    against = [remedy for flag, remedy in NO_COUNT.items() if flag in found.flags]
    if against:
        flags = say("does not count: {flags}", flags=" ".join(flag for flag in NO_COUNT if flag in found.flags))
        return warn(name, (figure, flags, moved), against[0])
    if found.down_mbps < target_mbps:
        return warn(name, (figure, say("below the target"), moved), say("the unit works; the line is slow"))
    return ok(name, figure, say("meets the target"), moved)


def refusal(name: str, refused: RequestRefused) -> Finding:
    """Why no test was made."""
    if refused.error == "budget":
        words = say(
            "not tested: the data left this month is reserved for scheduled tests ({reason})", reason=str(refused)
        )
        return warn(name, words, say("raise budget_gb in agent.yaml, or wait for the 1st"))
    if refused.error in {"server_busy", "busy", "too_many"}:
        return warn(name, say("not tested: {reason}", reason=str(refused)), say("try again in a minute"))
    return fail(name, say("not tested: {reason}", reason=str(refused)), GUIDE)


def _not_across(mbps: float, target_mbps: float) -> float:
    """To a tenth, but never rounded up to the target: 69.97 of 70 falls short."""
    shown = round(mbps, 1)
    return shown if (shown < target_mbps) == (mbps < target_mbps) else shown - 0.1
