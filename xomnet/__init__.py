"""What unit and server share: contract, settings, registry, targets, states, plan of measuring, MQTT link."""

from importlib.metadata import version

__version__ = version("xomnet")
