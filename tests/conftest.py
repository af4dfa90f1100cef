"""Fixtures of the tests alone; the servers are in tests/plugin.py."""
