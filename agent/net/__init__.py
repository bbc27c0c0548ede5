"""The unit's interfaces and modems; sockets and names that are pinned to a line."""
