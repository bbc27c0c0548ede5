"""Hours, days and months of lines and places."""
