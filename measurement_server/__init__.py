"""The server that lines are measured against: LibreSpeed's and Speedtest Mini's paths, paced and bounded.

A request goes `acceptor` (connections, until a whole head has come) → `server` (whose it is, a thread for it) →
`handler` (HTTP) → `routes` (which path is what) → `admission` (may this client run a test now) → `payload` (bytes from
the kernel, at the pace of `pacing`). `deadlines` cuts connections that do not get on.
"""

from measurement_server.limits import ServerLimits
from measurement_server.server import MeasurementServer

__all__ = ["MeasurementServer", "ServerLimits"]
