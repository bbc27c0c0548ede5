"""What the running unit says of itself."""
