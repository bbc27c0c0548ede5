"""Failpoints: named places at which the tests cut the power."""

import os
import signal

STEPS = (
    "manifest",  # verified, its time is remembered
    "download",  # in the middle of a wheel
    "downloaded",  # all wheels are there
    "installing",  # the new release's folder is there, and not complete
    "installed",  # complete
    "trial",  # written down, nothing is switched
    "switched",  # the link points to the new release, the old one runs
    "restarted",  # the new one runs
    "acknowledged",  # the collector has answered it, nothing is written down
    "kept",  # written down; what is too old is still there
    "back",  # the link points to the old release again
    "blamed",  # rolled back and written down
    "key",  # an own key is there
    "certificate",  # an own certificate is there
    "token",  # the token is gone
)
"""Every place at which a power cut is tested."""


def at(step: str) -> None:
    """Does nothing; or kills this process as a power cut would, if `XOMNET_UPDATER_FAILPOINT` names the step."""
    if os.environ.get("XOMNET_UPDATER_FAILPOINT") == step:
        os.kill(os.getpid(), signal.SIGKILL)
