"""The pages and the REST interface: what the collector knows, for people and programs. `routes` has every route."""

from collector.web.app import create_app

__all__ = ["create_app"]
