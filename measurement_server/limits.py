"""What a client may cost the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerLimits:
    """What a client may cost. A source is an IPv4 address, or the /64 of an IPv6 address."""

    head_s: float = 8
    """From the connection to the first request's whole head: a request that is lost three times still comes."""
    idle_s: float = 15
    """From an answer to the next request's whole head."""
    stall_s: float = 30
    """Without a chunk sent or received inside a request."""
    life_s: float = 300
    """Of a connection, whatever it does."""
    waiting: int = 8192
    """Connections without a whole head, which cost no thread; the oldest makes room."""
    waiting_each: int = 6144
    """Of them, those of a source."""
    requests: int = 400
    """Requests that are being answered, each in a thread. With permissions, half of them are for permitted units."""
    requests_each: int = 100
    """Of them, those of a source, or of a unit."""
    grace_s: float = 2
    """After a client's last stream, in which its place is kept."""
    test_s: float = 60
    """The longest test. A unit's takes 15 s at most, LibreSpeed's and speedtest-cli's downloads hardly more."""
    least_mbps: float = 0.5
    """What a test must take in each `slow_s`, from the second on. A slow line's unit has ended its test by then."""
    slow_s: float = 10
    speedtest_s: int = 10
    """What the configuration for speedtest-cli says a download may take."""
