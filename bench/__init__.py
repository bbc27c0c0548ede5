"""Benchmarks of a download test, and the emulated link that they run on."""
