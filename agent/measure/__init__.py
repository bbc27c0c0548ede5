"""Measuring a line: tests, latency, outages, and the conditions beside them."""
