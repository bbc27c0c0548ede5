"""The archive: every accepted message as it came, byte for byte, with the time of its receipt."""

from collector.archive.frames import Damage
from collector.archive.reader import read_records
from collector.archive.writer import Archive

__all__ = ["Archive", "Damage", "read_records"]
