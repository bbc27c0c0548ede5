"""The contract of unit and server, version 1: messages, topics, commands, and the allowed values."""
