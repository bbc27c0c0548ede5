"""Commands to units."""
