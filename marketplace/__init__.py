"""The service: use cases, store and HTTP API."""
