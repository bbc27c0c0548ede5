"""The channels of alerts: whether each address is valid. No message is sent."""

import datetime as dt
import logging

from apprise import Apprise

from collector.alerts.channels import unmatched_names
from collector.alerts.factory import notification_settings
from collector.settings import CollectorSettings
from xomnet.check.finding import Finding, fail, ok, say, skip, warn
from xomnet.registry.registry import RegistryError, load_registry
from xomnet.runtime.secrets import SecretError
from xomnet.settings import SettingsError
from xomnet.targets import Targets


def alerts(settings: CollectorSettings, targets: Targets, now: dt.datetime) -> Finding:
    """Of `notify.urls_file`; an address is a secret, so a channel is called by its label."""
    if settings.notify is None:
        return skip("alerts", say("no alert is sent: notify is not set"))
    try:
        channels = notification_settings(settings).channels
    except (SecretError, SettingsError) as error:
        return fail("alerts", say("{reason}", reason=str(error)), None)
    logging.getLogger("apprise").disabled = True  # it would quote the address
    unknown = [one.label for one in channels if Apprise.instantiate(one.url) is None]
    if unknown:
        bad = say("apprise does not know the address of: {channels}", channels=", ".join(unknown))
        return fail("alerts", bad, say("correct url in {path}", path=str(settings.notify.urls_file)))
    if not channels:
        return warn(
            "alerts",
            say("no alert is sent: there is no channel"),
            say("add a url to {path}", path=str(settings.notify.urls_file)),
        )
    counted = say("channels: {n}", n=len(channels))
    try:
        silent = unmatched_names(channels, load_registry(settings.registry, targets), now)
    except RegistryError:  # has a row of its own
        silent = []
    if silent:
        names = ", ".join(f"{channel.label}: {name}" for channel, name in silent)
        mistyped = say("no line matches areas or isps of a channel ({names})", names=names)
        return warn("alerts", (counted, mistyped), say("write areas and isps as in the registry"))
    return ok("alerts", counted, say("to send a test message: xomnet collector test-notification"))
