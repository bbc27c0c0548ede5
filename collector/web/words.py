"""Flags, errors and access types in plain words: English message ids. A newer agent's word is shown as it is."""

from collector.web.texts import Texts
from xomnet.messages import Access

ACCESS: dict[Access, str] = {"fixed": "Fixed", "mobile": "Mobile"}

FLAGS: dict[str, str] = {
    "cross_traffic": "others used the line during the test",
    "cpu_bound": "the unit's processor was too busy",
    "throttled": "the unit was slowed down (heat or power)",
    "link_below_target": "the unit's port is slower than the target",
    "wifi": "measured over Wi-Fi",
    "rat_changed": "the radio changed its network type during the test",
    "weak_radio": "weak mobile signal",
    "clock_unsynced": "the unit's clock was not set",
    "server_busy": "the measurement server was busy",
    "server_fallback": "another measurement server was used",
    "no_steady_state": "the speed never settled",
    "capped_bytes": "ended early to save data",
    "portal": "a sign-in page answered instead of the server",
    "payload_mismatch": "something changed the data on the way",
    "budget_skip": "skipped: the month's data ran short",
    "link_down": "the line was down",
    "unit_fault": "a fault of the unit, not of the line",
    "audit": "full-length test",
}

ERRORS: dict[str, str] = {
    "timeout": "no answer in time",
    "connect": "could not connect to the server",
    "refused": "the server refused the connection",
    "reset": "the connection was cut",
    "dns": "the server's name was not found",
    "stall": "the transfer stood still",
    "http": "the server gave an error",
    "http_status": "the server gave an error",
    "busy": "the measurement server was busy",
    "server_busy": "the measurement server was busy",
    "portal": "a sign-in page answered instead of the server",
    "link_down": "the line was down",
    "budget": "skipped: the month's data ran short",
    "too_slow": "too slow to measure",
}


def access_word(t: Texts, access: Access) -> str:
    return t.text(ACCESS[access])


def remarks(t: Texts, flags: tuple[str, ...], error: str | None, detail: str | None = None) -> list[str]:
    """What a reader should know of a test: why it failed first, then its flags."""
    said = []
    if error is not None:
        why = t.text(ERRORS[error]) if error in ERRORS else error
        said.append(t.text("failed: {why}", why=why) + (f" ({detail})" if detail else ""))
    told = {error, ERRORS.get(error or "")}
    more = [flag for flag in flags if flag not in told and FLAGS.get(flag) not in told]
    return [*said, *(t.text(FLAGS[flag]) if flag in FLAGS else flag for flag in more)]
