"""The least that a project needs. mypy's plugin for Django reads it."""

SECRET_KEY = "a secret of the tests, and of nobody else"
INSTALLED_APPS = ["django_layercache", "django.contrib.contenttypes", "django.contrib.auth"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
USE_TZ = True
