"""Commands and settings from the server."""
