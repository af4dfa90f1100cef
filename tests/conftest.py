"""Fixtures of the tests alone; the servers are in tests/plugin.py."""

import pytest


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Nothing: each of pytest-xdist's workers has servers and files of its own."""
