"""`xomnet collector test-notification`: a test message to every channel, now; says which failed."""

import argparse
import sys
from pathlib import Path

import msgspec

from collector.alerts.delivery import Delivery, deliver
from collector.alerts.factory import notification_settings
from collector.alerts.texts import notification
from collector.settings import CollectorSettings
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError, load


def main() -> int:
    """Exit status: 0 all took it, 1 some did not, 2 the settings can't be used, or name nobody."""
    parser = argparse.ArgumentParser(
        prog="xomnet collector test-notification", description="Send a test message to every alert channel."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse_args()
    try:
        settings = notification_settings(load(arguments.config, CollectorSettings))
    except (SettingsError, SecretError) as error:
        return _print_refusal(str(error), arguments.json)
    if not settings.channels:
        return _print_refusal(
            "there is no channel: set notify.urls_file in the settings, and write an address in that file",
            arguments.json,
        )
    deliveries = []
    for channel in settings.channels:
        t = settings.texts_for(channel)
        reason = [t.text("This is a test message. Alerts will be sent through this channel.")]
        deliveries.append(
            Delivery(channel.url, notification(t.text("xomnet: test message"), reason, settings.public_url, "info"))
        )
    outcomes = {outcome.number: outcome.reason for outcome in deliver(deliveries)}
    found = [(channel.label, outcomes[number]) for number, channel in enumerate(settings.channels)]
    if arguments.json:
        rows = [{"channel": label, "sent": reason is None, "reason": reason} for label, reason in found]
        print(msgspec.json.encode({"channels": rows}).decode())
    else:
        print("\n".join(f"{'✖' if reason else '✔'} {label}  {reason or ''}".rstrip() for label, reason in found))
    return int(any(reason is not None for _, reason in found))


def _print_refusal(reason: str, as_json: bool) -> int:
    if as_json:
        print(msgspec.json.encode({"error": reason}).decode())
    else:
        print(reason, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
