"""File descriptors: how many this process may have open."""

import resource
from contextlib import suppress

MAX_WANTED = 65_536
USUAL = 1_024
"""What a process may have where the system does not say."""


def descriptor_limit() -> int:
    """How many descriptors this process may have open now."""
    try:
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except OSError:
        return USUAL
    return MAX_WANTED if soft == resource.RLIM_INFINITY else min(soft, MAX_WANTED)


def raise_descriptor_limit() -> None:
    """Takes as many as the system allows without asking; a service may be forbidden to, and keeps what it has."""
    with suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        wanted = MAX_WANTED if hard == resource.RLIM_INFINITY else min(hard, MAX_WANTED)
        if wanted > descriptor_limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
