"""Hostile payloads by the hundred thousand: `python -m tests.hostile --cases 100000`."""
