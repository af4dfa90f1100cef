"""The settings under which Django's suite runs; ``worker.py`` has put the options where they are found."""

import json
import sys

import django

OPTIONS = json.loads(sys.argv[1])

if OPTIONS["postgres"]:
    # The library asks the server which transactions are open, from the start: by a name that is there before the
    # test databases are.
    _server = {"ENGINE": "django.db.backends.postgresql", **OPTIONS["postgres"], "NAME": "postgres"}
    DATABASES = {
        alias: {**_server, "TEST": {"NAME": f"suite_{alias}"}} for alias in ("default", "other")
    }
else:
    DATABASES = {alias: {"ENGINE": "django.db.backends.sqlite3"} for alias in ("default", "other")}

SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = False
if django.VERSION < (6,):
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

TEST_RUNNER = "worker.Runner"

LAYERCACHE = {
    "MODELS": {"*": {}},
    "NAMESPACE": OPTIONS["namespace"],
    "GRACE": 0,
}
if OPTIONS["redis"]:
    CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "layercache": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": OPTIONS["redis"],
        },
    }
    LAYERCACHE["CACHE"] = "layercache"
