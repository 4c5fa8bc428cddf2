"""Duties that move work on: they match, send, index and clean up, and meet the API in the store."""
