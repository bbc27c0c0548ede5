"""Runs on the Pi: measures, spools and publishes until the collector says that the database has it."""
