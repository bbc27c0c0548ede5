"""What to check first, from what the results say of a line."""

from collector.alerts.evidence import Evidence
from collector.texts.texts import Texts

MAX_CHECKS = 3

OF_FLAGS = {
    "link_below_target": "the unit's port is slower than the target → cable with all 8 wires, gigabit port",
    "throttled": "the unit is throttled → power supply, ventilation",
    "cpu_bound": "the unit's CPU is busy → other programs on it",
    "wifi": "measured over Wi-Fi → use the cable",
    "cross_traffic": "others use the line during the tests → find out who",
    "portal": "a sign-in page answers → plan paid? SIM registered?",
    "payload_mismatch": "the data is changed on the way → proxy, data saver",
    "link_down": "the line is down during tests → cable, modem, then the provider",
    "rat_changed": "the network type changes during the tests → antenna, position",
    "weak_radio": "weak mobile signal → antenna, position",
    "no_steady_state": "the speed is not steady → congested line, radio bridge",
}
"""Flags that say where to look, the unit's own faults first."""


def checks_of(found: Evidence, t: Texts) -> list[str]:
    """At most three things, the likeliest first; none if nothing is unusual."""
    said = []
    if found.link_mbps is not None:
        values = {"now": t.target(found.link_mbps.now), "before": t.target(found.link_mbps.before)}
        said.append(t.text("the unit's port runs at {now} Mb/s (normally {before}) → cable, switch port", **values))
    if found.rsrp_dbm is not None:
        values = {"now": _dbm(found.rsrp_dbm.now, t), "before": _dbm(found.rsrp_dbm.before, t)}
        said.append(t.text("signal RSRP {now} dBm (normally {before}) → antenna, position", **values))
    if found.technology is not None:
        before, now = found.technology
        said.append(t.text("the modem is on {now} (normally {before}) → signal, SIM", now=now, before=before))
    covered = {"weak_radio"} if found.rsrp_dbm is not None else set()
    said += [t.text(said_of) for flag, said_of in OF_FLAGS.items() if flag in found.flags - covered]
    if found.loss_percent is not None:
        values = {"now": t.number(found.loss_percent.now), "before": t.number(found.loss_percent.before)}
        said.append(t.text("packet loss {now}% (normally {before}) → cable, signal, then the provider", **values))
    if found.rtt_ms is not None:
        values = {"now": t.number(found.rtt_ms.now, 0), "before": t.number(found.rtt_ms.before, 0)}
        said.append(
            t.text("latency {now} ms (normally {before}) → congestion or another route: ask the provider", **values)
        )
    return said[:MAX_CHECKS]


def _dbm(value: float, t: Texts) -> str:
    return t.number(value, 0).replace("-", "−")
