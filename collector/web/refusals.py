"""What the operator's buttons say where the server or the unit refuses. REST and units speak English; so this is for
the other language of the page, and for what has no answer at all.
"""

from collector.texts.texts import Texts


def refusals(t: Texts) -> dict[str, str]:
    """By the answer's status, before it the dialog's name where it matters; by the word of a unit that refused; by what
    became of a command. What is not here is said as it came.
    """
    unreachable = {"unreachable": t.text("The server does not answer. Try again.")}
    if t.language == "en":
        return unreachable
    return {
        **unreachable,
        "400": t.text("The server can't use what was given."),
        "401": t.text("The operator's token is missing or wrong."),
        "403": t.text("Nobody may change anything here yet."),
        "404": t.text("This line is no longer in the registry."),
        "acknowledge 409": t.text("This line has no trouble any more that could be taken on."),
        "maintenance 409": t.text("Too many times of maintenance are kept already."),
        "429": t.text("Too many wrong tokens from this machine: wait a minute."),
        "500": t.text("Something went wrong in the program"),
        "503": t.text("The server can't do that just now. Try again later."),
        "no_answer": t.text("The unit has not answered."),
        "undelivered": t.text("The unit can't be reached: it is offline, or the broker is away."),
        "budget": t.text("The month's data of this line would run short."),
        "busy": t.text("The unit is busy with something else."),
        "server_busy": t.text("Every measurement server is busy."),
        "expired": t.text("The unit came to it too late. Try again."),
        "too_many": t.text("The unit was asked for too much within an hour."),
        "clock_unknown": t.text("The unit does not know the time yet."),
        "unknown_line": t.text("The unit does not have this line in its settings."),
        "stopping": t.text("The unit is just being stopped."),
        "spool": t.text("The unit's card can't be written."),
    }
