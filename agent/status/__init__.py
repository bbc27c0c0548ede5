"""The status of the running unit: document, HTTP server, client, command."""
