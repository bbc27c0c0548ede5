"""The demonstration: what a province looks like, on one machine."""
