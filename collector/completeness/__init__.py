"""Whether the store has what the units took in."""
