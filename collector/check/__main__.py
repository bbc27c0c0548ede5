"""`xomnet collector check`: rows as they are found, then one sentence."""

import argparse
import logging
import os
import sys
from pathlib import Path

from collector.check.plan import findings
from collector.settings import CollectorSettings
from xomnet import __version__
from xomnet.check.finding import say
from xomnet.check.host import describe_machine
from xomnet.check.outcome import print_error, print_findings
from xomnet.check.privileges import drop_privileges
from xomnet.check.texts import LANGUAGES, CheckTexts, default_language
from xomnet.defaults import config_file
from xomnet.runtime.clock import utc_now
from xomnet.settings import SettingsError, load
from xomnet.targets import load_targets


def main() -> int:
    """Exit status: 0 ready, 1 something to fix, 2 the settings are wrong, 130 after Ctrl-C."""
    try:
        return check()
    except KeyboardInterrupt:
        return 130


def check() -> int:
    """As `main`."""
    parser = argparse.ArgumentParser(prog="xomnet collector check", description="Check whether this server is ready.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings file (YAML)")
    parser.add_argument("--lang", choices=LANGUAGES, default=default_language(), help="language of the text")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse_args()
    try:
        settings = load(arguments.config, CollectorSettings)
        targets = load_targets(settings.targets or config_file("targets.yaml"))
    except SettingsError as error:
        return print_error(error, arguments.json)
    drop_privileges(service_owned_path(settings))
    logging.disable(logging.CRITICAL)  # what the parts would log is in the rows
    file = str(arguments.config)
    head = say(
        "xomnet {version}, collector with {file} ({machine})",
        version=__version__,
        file=file,
        machine=describe_machine(),
    )
    found = findings(settings, targets, arguments.config, utc_now())
    return print_findings(found, head, {"settings": file}, CheckTexts(arguments.lang), arguments.json)


def service_owned_path(settings: CollectorSettings) -> Path:
    """What belongs to the service's user: its folder; before the first start the key that only that user may read."""
    tls = settings.broker.tls
    if os.path.isdir(settings.state_dir) or tls is None or tls.key is None:
        return settings.state_dir
    return tls.key


if __name__ == "__main__":
    sys.exit(main())
