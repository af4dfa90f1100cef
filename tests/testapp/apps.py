from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """The blog of the tests."""

    name = "tests.testapp"
    label = "testapp"
