"""The link to the broker: connections, how they end, and the broker's settings."""
