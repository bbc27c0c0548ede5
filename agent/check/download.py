"""Check of a line by a real download test, which is committed as a result and charged to the line's data budget."""

from agent.check.delivery import wait_for_rejection
from agent.check.service import Service
from agent.errors import RequestRefused
from agent.settings import LineSettings
from xomnet.check.finding import Finding, Sentence, fail, ok, say, warn
from xomnet.contract.commands import Tested

NO_COUNT: dict[str, Sentence] = {
    "cross_traffic": say("other devices use the line: unplug them and test again"),
    "cpu_bound": say("the unit was too busy: stop other programs on it"),
    "throttled": say("heat or low voltage slowed the unit down: improve ventilation and power supply"),
    "wifi": say("use a cable: a test over Wi-Fi does not count"),
    "link_below_target": say("use a cable with all 8 wires, a gigabit port at its other end, and a Pi 4 or 5"),
}
"""Flags with which a figure does not count -> what to do."""
GUIDE = say("look up the code in the technician's guide")


def test(service: Service, line: LineSettings, target_mbps: float) -> Finding:
    """Runs a test, with up to 40 MB on a metered line and 200 MB on others. Raises ServiceSilent."""
    try:
        found = service.measure(line)
    except RequestRefused as refused:
        return refusal(line.line, refused)
    if found.seq is not None and (turned_down := wait_for_rejection(service, found.seq)) is not None:
        figure = judge_test(line.line, found, target_mbps)
        return fail(line.line, (*figure.found, *turned_down.found), turned_down.remedy)
    return judge_test(line.line, found, target_mbps)


def judge_test(name: str, found: Tested, target_mbps: float) -> Finding:
    """The finding of a test. A slow line is no failure: the unit does its work."""
    if found.down_mbps is None:
        what = say("no figure: {code}: {detail}", code=found.error or "?", detail=found.error_detail or "")
        return fail(name, what, GUIDE)
    figure = say("{n} Mb/s of {target}", n=_rounded_mbps(found.down_mbps, target_mbps), target=target_mbps)
    moved = say("{n} MB", n=round((found.bytes or 0) / 1e6))
    against = [remedy for flag, remedy in NO_COUNT.items() if flag in found.flags]
    if against:
        flags = say("does not count: {flags}", flags=" ".join(flag for flag in NO_COUNT if flag in found.flags))
        return warn(name, (figure, flags, moved), against[0])
    if found.down_mbps < target_mbps:
        return warn(name, (figure, say("below the target"), moved), say("the unit works; the line is slow"))
    return ok(name, figure, say("meets the target"), moved)


def refusal(name: str, refused: RequestRefused) -> Finding:
    """The finding if the test was refused, with the reason."""
    if refused.error == "budget":
        words = say(
            "not tested: the data left this month is reserved for scheduled tests ({reason})", reason=str(refused)
        )
        return warn(name, words, say("raise budget_gb in agent.yaml, or wait for the 1st"))
    if refused.error in {"server_busy", "busy", "too_many"}:
        return warn(name, say("not tested: {reason}", reason=str(refused)), say("try again in a minute"))
    return fail(name, say("not tested: {reason}", reason=str(refused)), GUIDE)


def _rounded_mbps(mbps: float, target_mbps: float) -> float:
    """A rate rounded to a tenth, but never up to the target: 69.97 of 70 is below the target."""
    shown = round(mbps, 1)
    return shown if (shown < target_mbps) == (mbps < target_mbps) else shown - 0.1
