"""What agent and collector share: messages, topics, settings, targets, the registry, the command line, the demo."""

from importlib.metadata import version

__version__ = version("xomnet")
