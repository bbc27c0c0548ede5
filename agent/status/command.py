"""`xomnet agent status`: what the running service says of itself."""

import argparse
import json
import sys
import urllib.request
from http.client import HTTPException
from pathlib import Path

import msgspec

from agent.control.remote_config import settings_in_force
from agent.settings import AgentSettings, StatusPageSettings
from agent.status.client import RunningService, ServiceSilent
from agent.status.status import AgentStatus, LineReport
from agent.status.wording import bytes_used
from xomnet.check.host import asked_at
from xomnet.check.texts import LANGUAGES, CheckTexts, language_of
from xomnet.settings import SettingsError

ASK_S, MAX_BYTES = 5.0, 200_000


def main() -> int:
    """Exit status: 0 it runs, 1 it does not answer, 2 the settings are wrong."""
    parser = argparse.ArgumentParser(prog="xomnet agent status", description="Show the state of the running service.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--lang", choices=LANGUAGES, default=language_of(), help="language of the text")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse_args()
    try:
        settings = settings_in_force(arguments.config)
        status = fetch_status(settings)
    except (SettingsError, ServiceSilent) as error:
        document = json.dumps({"error": str(error)}, ensure_ascii=False)
        print(document if arguments.json else error, file=sys.stdout if arguments.json else sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    if arguments.json:
        print(msgspec.json.encode(status).decode())
    else:
        print("\n".join(status_lines(status, settings, CheckTexts(arguments.lang))))
    return 0


def fetch_status(settings: AgentSettings) -> AgentStatus:
    """Through the socket in the state folder; else, for who may not open that, the page. Raises ServiceSilent."""
    try:
        return RunningService(settings.state_dir).status()
    except ServiceSilent as error:
        if not settings.status_page.port:
            raise
        try:
            return fetch_from_page(settings.status_page)
        except (OSError, HTTPException, msgspec.DecodeError):
            raise ServiceSilent(f"{error}; check that the service runs: systemctl status xomnet-agent") from error


def fetch_from_page(page: StatusPageSettings) -> AgentStatus:
    """Raises OSError, HTTPException, msgspec.DecodeError."""
    host = asked_at(page.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{page.port}/status.json"
    with urllib.request.urlopen(url, timeout=ASK_S) as answer:
        return msgspec.json.decode(answer.read(MAX_BYTES), type=AgentStatus)


def status_lines(status: AgentStatus, settings: AgentSettings, t: CheckTexts) -> list[str]:
    """A few, for a person."""
    connected = t.text("connected") if status.connected else t.text("not connected")
    away = f" ({status.away})" if status.away else ""
    last = t.text("none yet")
    if status.last_ack_age_s is not None:
        last = t.text("{span} ago", span=t.span(status.last_ack_age_s))
    waiting = "?" if status.waiting is None else t.number(status.waiting)
    rows = [
        ("", f"xomnet {status.version}, {status.agent}"),
        (t.text("Service running since"), f"{t.moment(status.since, settings.timezone)} ({t.span(status.up_s)})"),
        (t.text("Broker"), connected + away),
        (t.text("Last answer of the collector"), last),
        (t.text("Results waiting"), waiting),
    ]
    if status.rejected:
        rows.append((t.text("Rejected since the start"), f"{t.number(status.rejected)}: {status.rejection}"))
    rows += [(line.line, _line(line, status, settings, t)) for line in status.lines]
    return [text if not name else f"{name:<32}{text}" for name, text in rows]


def _line(line: LineReport, status: AgentStatus, settings: AgentSettings, t: CheckTexts) -> str:
    parts = []
    if line.testing:
        parts.append(t.text("test running"))
    elif line.last_test_at is not None:
        figure = line.last_error if line.last_mbps is None else t.text("{n} Mb/s", n=line.last_mbps)
        parts.append(f"{figure}, {t.moment(line.last_test_at, settings.timezone)}")
    if line.next_test_at is not None and status.clock_known:
        parts.append(t.text("next {time}", time=t.moment(line.next_test_at, settings.timezone)))
    parts.append(bytes_used(line, t))
    return "; ".join(parts)


if __name__ == "__main__":
    sys.exit(main())
