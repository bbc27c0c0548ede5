"""Flags, errors and reasons of exclusions in plain words. A word that is not here is shown as it is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from collector.texts.texts import Texts
from xomnet import access as access_types
from xomnet.contract.messages import Access


class ExclusionWord(NamedTuple):
    """As it stands after a number of tests, or alone."""

    en: str
    vi: str


EXCLUSIONS: Mapping[str, ExclusionWord] = {
    "quarantine": ExclusionWord("in quarantine", "tạm giữ chờ xem xét"),
    "late": ExclusionWord("late without explanation", "đến muộn chưa rõ lý do"),
    "server": ExclusionWord("with a faulty measurement server", "do máy chủ đo gặp sự cố"),
    "power": ExclusionWord("while the unit was without power", "trong lúc thiết bị đo mất nguồn"),
    "local_fault": ExclusionWord("with a fault at the site", "do lỗi tại điểm đo"),
    "other_network": ExclusionWord("over another network", "đi qua mạng khác"),
}
"""Why an exclusion takes a result out, or that it came late (`Sample.excluded`)."""

ExclusionCounts = Sequence[tuple[str, int]]
"""How many results each reason takes out, the most first."""

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


def exclusion_word(reason: str, t: Texts) -> str:
    """A reason in words."""
    word = EXCLUSIONS.get(reason)
    return reason if word is None else word.vi if t.language == "vi" else word.en


def count_exclusions(reasons: Iterable[str | None]) -> ExclusionCounts:
    """Of the results that have a reason."""
    return Counter(reason for reason in reasons if reason is not None).most_common()


def exclusions_phrase(counts: ExclusionCounts, t: Texts) -> str:
    """10 in quarantine, 2 late without explanation; of a single reason its words alone."""
    if len(counts) == 1:
        return exclusion_word(counts[0][0], t)
    return ", ".join(f"{t.number(n, 0)} {exclusion_word(reason, t)}" for reason, n in counts)


def excluded_sentence(counts: ExclusionCounts, span_s: float, t: Texts) -> str | None:
    """How many tests of a time do not count, and why; None where all do."""
    if not counts:
        return None
    return t.plural(
        "In the last {span}, {n} test is not counted: {reasons}.",
        "In the last {span}, {n} tests are not counted: {reasons}.",
        sum(n for _, n in counts),
        span=t.span(span_s),
        reasons=exclusions_phrase(counts, t),
    )


def excluded_of_lines(lines: Iterable[Sequence[str | None]], t: Texts) -> str | None:
    """How many tests of how many lines do not count, and why; `lines` are the reasons of each line's tests."""
    found = [reasons for reasons in lines if any(reason is not None for reason in reasons)]
    if not found:
        return None
    counts = count_exclusions(reason for reasons in found for reason in reasons)
    return t.plural(
        "{n} test of {lines} is not counted: {reasons}.",
        "{n} tests of {lines} are not counted: {reasons}.",
        sum(n for _, n in counts),
        lines=t.plural("{n} line", "{n} lines", len(found)),
        reasons=exclusions_phrase(counts, t),
    )


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
