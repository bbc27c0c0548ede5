"""What the server asks of this unit: commands and remote settings."""
