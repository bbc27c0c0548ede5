"""The unit's page, for a phone on site."""
