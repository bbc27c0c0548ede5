"""When a line is tested, and its data budget."""
