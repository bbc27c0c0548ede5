"""From a committed result to the collector's answer."""
