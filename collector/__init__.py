"""Runs on the server: takes results in, stores them, acknowledges them, judges lines and shows them."""
