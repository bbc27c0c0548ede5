"""The time, how far it can be trusted, and the timestamps of results."""
