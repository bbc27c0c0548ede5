"""What the collector asks of units."""
