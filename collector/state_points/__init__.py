"""The points of every minute beside the states of the lines: latency, places, units, the collector's heartbeat."""
