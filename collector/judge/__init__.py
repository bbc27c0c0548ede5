"""Judging lines: their state, and the verdict of a month."""
