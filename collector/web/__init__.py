"""The page and the REST interface: what the collector knows, for people and for programs. Reads only."""

from collector.web.app import create_app

__all__ = ["create_app"]
