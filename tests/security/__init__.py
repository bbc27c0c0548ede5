"""Hostile payloads by the hundred thousand: `python -m tests.security --cases 100000`."""
