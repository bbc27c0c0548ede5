"""The registry while the collector runs."""
