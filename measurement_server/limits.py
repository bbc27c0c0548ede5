"""What a client may cost the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """What a client may cost."""

    idle_s: float = 60
    """From one answer to the next request's whole head: ends a slow loris too."""
    stall_s: float = 60
    """Without a chunk sent or received inside a request."""
    life_s: float = 300
    """Of a connection, whatever it does."""
    grace_s: float = 2
    """After a client's last stream, in which its place in `max_tests` is kept."""
    connections: int = 400
    speedtest_s: int = 10
    """What the configuration for speedtest-cli says a download may take."""
