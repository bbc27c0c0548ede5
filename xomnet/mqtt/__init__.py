"""The link to the broker: connections, their end, and what opens them."""
