"""When a line is tested, and on how many bytes."""
