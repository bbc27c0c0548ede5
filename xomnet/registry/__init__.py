"""The registry of lines."""
