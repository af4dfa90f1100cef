"""Loads what the tests and the examples in the documentation share."""

pytest_plugins = ["tests.plugin", "tests.examples"]
