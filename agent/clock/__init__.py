"""What time it is, how far that can be trusted, and when something was taken."""
