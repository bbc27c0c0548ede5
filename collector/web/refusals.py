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
        "400": t.text("The server can't accept this input."),
        "401": t.text("The operator's token is missing or wrong."),
        "403": t.text("Changes are disabled: no operator token is set."),
        "404": t.text("This line is no longer in the registry."),
        "acknowledge 409": t.text("This line has no open alert to acknowledge."),
        "maintenance 409": t.text("There are too many maintenance windows already."),
        "429": t.text("Too many wrong tokens from this machine: wait a minute."),
        "500": t.text("An error occurred in the program"),
        "503": t.text("The server can't do this right now. Try again later."),
        "no_answer": t.text("The unit has not answered."),
        "undelivered": t.text("The unit can't be reached: it is offline, or the broker is unavailable."),
        "budget": t.text("Not tested: this month's data budget does not allow it."),
        "busy": t.text("The unit is busy with something else."),
        "server_busy": t.text("Every measurement server is busy."),
        "expired": t.text("The unit received the command too late. Try again."),
        "too_many": t.text("The unit received too many commands within an hour."),
        "clock_unknown": t.text("The unit's clock is not set yet."),
        "unknown_line": t.text("The unit does not have this line in its settings."),
        "stopping": t.text("The unit is shutting down."),
        "spool": t.text("The unit's card is not writable."),
    }
