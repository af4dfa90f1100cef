"""Loads the fixtures of tests/ for the examples in the documentation as well."""

pytest_plugins = ["tests.plugin"]
