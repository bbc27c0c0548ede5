"""Flags and errors in plain words: English message ids. A newer agent's word is shown as it is."""

from collector.texts.texts import Texts
from xomnet import access as access_types
from xomnet.contract.messages import Access

FLAGS: dict[str, str] = {
    "cross_traffic": "others used the line during the test",
    "cpu_bound": "the unit's CPU was too busy",
    "throttled": "the unit was throttled (heat or power)",
    "link_below_target": "the unit's port is slower than the target",
    "wifi": "measured over Wi-Fi",
    "rat_changed": "the radio changed its network type during the test",
    "weak_radio": "weak mobile signal",
    "clock_unsynced": "the unit's clock was not set",
    "server_busy": "the measurement server was busy",
    "server_fallback": "another measurement server was used",
    "no_steady_state": "the speed did not become steady",
    "capped_bytes": "stopped at the data cap",
    "portal": "a sign-in page answered instead of the server",
    "payload_mismatch": "the data was changed on the way",
    "budget_skip": "skipped: this month's data budget is used up",
    "link_down": "the line was down",
    "unit_fault": "a fault of the unit, not of the line",
    "audit": "full-length test",
}

ERRORS: dict[str, str] = {
    "cancelled": "the unit was stopping",
    "connect_timeout": "no answer in time",
    "timeout": "no answer in time",
    "dns_failure": "the server's name was not found",
    "connect_refused": "the server refused the connection",
    "reset": "the connection was cut",
    "unreachable": "the server could not be reached",
    "network_error": "network error",
    "stalled": "the transfer stalled",
    "server_busy": "the measurement server was busy",
    "portal": "a sign-in page answered instead of the server",
    "payload_mismatch": "the data was changed on the way",
    "link_down": "the line was down",
    "interface_down": "the unit's network port was down",
    "interface_missing": "the unit's network port was not found",
    "budget": "skipped: this month's data budget is used up",
    "ledger": "a fault of the unit, not of the line",
    "memory": "a fault of the unit, not of the line",
    "settings": "wrong settings of the unit",
    "engine": "the measuring program failed",
    "engine_output": "the measuring program failed",
}


def access_word(t: Texts, access: Access) -> str:
    return access_types.word(access, t.language).capitalize()


def _http_status(t: Texts, error: str) -> str:
    status = error.removeprefix("http_")
    return t.text("the server answered HTTP {status}", status=status) if status.isdigit() else error


def remarks(t: Texts, flags: tuple[str, ...], error: str | None, detail: str | None = None) -> list[str]:
    """What a reader should know of a test: why it failed first, then its flags."""
    said, told = [], set()
    if error is not None:
        why = t.text(ERRORS[error]) if error in ERRORS else _http_status(t, error)
        told.add(why)
        said.append(t.text("failed: {why}", why=why) + (f" ({detail})" if detail else ""))
    plain = (t.text(FLAGS[flag]) if flag in FLAGS else flag for flag in flags)
    return [*said, *(words for words in plain if words not in told)]
