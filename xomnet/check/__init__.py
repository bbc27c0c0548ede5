"""What the checks of a unit and of the server have in common: rows, their texts, the way to the broker."""
