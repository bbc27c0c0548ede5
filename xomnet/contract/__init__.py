"""The contract of unit and server, version 1: messages, topics, commands, and what a value may be."""
