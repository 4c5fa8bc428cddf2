"""The HTTP API, version 1."""

from marketplace.api.app import create_app

__all__ = ["create_app"]
