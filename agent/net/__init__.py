"""The unit's ports and modems, sockets and names that keep to a line."""
