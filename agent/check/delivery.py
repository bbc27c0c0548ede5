"""From this unit to the collector's answer: a round trip now, or what the running service knows of the last one."""

import time
from collections.abc import Callable

from agent.check.service import Service
from agent.errors import RequestRefused
from agent.status.status import AgentStatus
from xomnet.check.finding import Finding, Said, fail, ok, say, skip, warn

CONNECT_S, ANSWER_S, RESULT_S = 15.0, 20.0, 10.0
REFUSED_S = 3.0
"""A broker that does not deliver now may do so with the next try; longer nobody need wait."""
LOOK_S = 0.1
STARTING_S = 120.0
LATE_S = 900.0
"""Without an answer: three of the usual pauses between two results."""
REGISTRY = say("the operator must add this unit's rows to the registry (lines.csv), with from not later than today")
COLLECTOR = say("ask the operator whether the collector runs and can write; meanwhile no result is lost")
NOBODY, FORBIDDEN = "No matching subscribers", "Not authorized"


def round_trip(service: Service, connect_s: float = CONNECT_S) -> Finding:
    """One result to the collector and its answer. Raises ServiceSilent."""
    if not _until(lambda: service.status().connected, connect_s):
        return not_connected(service.status())
    before = service.status()
    start = time.monotonic()
    try:
        service.report()
    except RequestRefused as refused:
        return fail(
            "collector", say("the service is busy: {reason}", reason=str(refused)), say("try again in a minute")
        )

    def settled() -> bool:
        now = service.status()
        refused = now.refusal is not None and time.monotonic() - start > REFUSED_S
        return refused or now.answered > before.answered

    _until(settled, ANSWER_S)
    return answered(before, service.status(), time.monotonic() - start)


def answered(before: AgentStatus, after: AgentStatus, took_s: float) -> Finding:
    """What came of it; pure."""
    if after.rejected > before.rejected:
        return rejected(after)
    if after.stored > before.stored:
        return ok("collector", say("acknowledged in {n} s", n=round(took_s, 1)), *_waiting(after))
    return _unanswered(after)


def known(status: AgentStatus) -> Finding:
    """The same from what the service knows, without asking for anything; pure."""
    if not status.connected:
        return not_connected(status)
    if status.last_ack_age_s is None or status.last_ack_age_s > LATE_S:
        if status.last_ack_age_s is None and status.up_s < STARTING_S:
            return skip("collector", say("just started"), *_waiting(status))
        return _unanswered(status)
    if status.rejected and not status.stored:
        return rejected(status)
    return ok("collector", say("acknowledged {n} s ago", n=round(status.last_ack_age_s)), *_waiting(status))


def not_connected(status: AgentStatus) -> Finding:
    """The broker's or the network's word for it."""
    why = (say("{reason}", reason=status.away),) if status.away else ()
    return fail(
        "collector",
        (say("not connected to the broker"), *why),
        say("fix the row broker first; then read the broker's log"),
    )


def rejected(status: AgentStatus) -> Finding:
    """By the collector."""
    reason = status.rejection or "?"
    remedy = REGISTRY if reason.startswith("unknown_") else say("look up the reason in the technician's guide")
    return fail("collector", say("rejects the result: {reason}", reason=reason), remedy)


def of_result(service: Service, seq: int) -> Finding | None:
    """Waits until this one is answered; a row where the collector refused it. Raises ServiceSilent."""
    _until(lambda: service.status().newest_seq >= seq, RESULT_S)
    status = service.status()
    return rejected(status) if status.rejected_seq == seq else None


def _unanswered(status: AgentStatus) -> Finding:
    if status.refusal == NOBODY:
        nobody = say("no collector is connected to this broker")
        return fail("collector", (nobody, *_waiting(status)), COLLECTOR)
    if status.refusal == FORBIDDEN:
        return fail(
            "collector",
            say("the broker does not allow this unit to publish"),
            say(
                "the certificate's name must be agent in agent.yaml; if it is, ask the operator for the broker's rules"
            ),
        )
    if not status.clock_known:
        waits = say("results wait for the clock")
        return warn(
            "collector",
            (waits, *_waiting(status)),
            say("set the clock; after some minutes the results are sent without it"),
        )
    return fail("collector", (say("no answer"), *_waiting(status)), COLLECTOR)


def _waiting(status: AgentStatus) -> tuple[Said, ...]:
    """A few on their way are nothing to tell."""
    if status.waiting is None:
        return (say("the spool can't be read"),)
    return (say("{n} results wait", n=status.waiting),) if status.waiting > 20 else ()


def _until(holds: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(LOOK_S)
    return True
