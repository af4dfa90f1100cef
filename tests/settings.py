"""The settings of the tests.

The databases are files and the servers have ports, so that several threads and processes can share them: a
process started by a test with `DJANGO_SETTINGS_MODULE=tests.settings` finds the same ones, because the place of
each is handed down in the environment variable named below.
"""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.services import HOST, PostgresServer, free_port

#: One for each of the processes among which pytest-xdist divides the tests.
_HANDED_DOWN = "LAYERCACHE_TESTS_" + os.environ.get("PYTEST_XDIST_WORKER", "alone")


def _places() -> dict[str, str]:
    if _HANDED_DOWN in os.environ:
        return json.loads(os.environ[_HANDED_DOWN])
    places = {
        "directory": tempfile.mkdtemp(prefix="layercache-tests-"),
        "redis": str(free_port()),
        "memcached": str(free_port()),
        "postgres": str(free_port()),
    }
    os.environ[_HANDED_DOWN] = json.dumps(places)
    atexit.register(_remove, places["directory"], os.getpid())
    return places


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # a process that was forked off runs this as well
        shutil.rmtree(directory, ignore_errors=True)


PLACES = _places()
DIRECTORY = Path(PLACES["directory"])

SECRET_KEY = "a secret of the tests, and of nobody else"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_layercache",
    "tests.testapp",
    "tests.blog",
]

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _sqlite(name: str) -> dict[str, object]:
    path = str(DIRECTORY / f"{name}.sqlite3")
    # A file under test too: Django's default there is a database in memory, which one connection has for itself.
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "OPTIONS": {"timeout": 20},
        "TEST": {"NAME": path},
    }


DATABASES: dict[str, dict[str, object]] = {
    "default": _sqlite("default"),
    "other": _sqlite("other"),
}
if PostgresServer.program():
    DATABASES["postgres"] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": HOST,
        "PORT": PLACES["postgres"],
        "USER": PostgresServer.user,
        "NAME": "tests",
        "TEST": {"NAME": "tests"},
    }

_REDIS_URL = f"redis://{HOST}:{PLACES['redis']}/0"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _REDIS_URL,
    },
    "django_redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": _REDIS_URL,
    },
    "memcached": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": f"{HOST}:{PLACES['memcached']}",
    },
}
