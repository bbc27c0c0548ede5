"""The unit's page, for a phone beside it."""
