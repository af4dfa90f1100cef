"""The settings of one worker: what its contender needs, on the database and the store that it was given.

The main process hands the assignment down in an environment variable.
"""

import json
import os

from benchmarks.contenders import CONTENDERS

HANDED_DOWN = "LAYERCACHE_BENCHMARK"
ASSIGNMENT = json.loads(os.environ[HANDED_DOWN])

SECRET_KEY = "a secret of the benchmarks, and of nobody else"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
ROOT_URLCONF = "benchmarks.blog.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["benchmarks.blog"]
MIDDLEWARE: list[str] = []
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
    }
]
DATABASES = {"default": ASSIGNMENT["database"]}

if ASSIGNMENT["store"] == "redis":
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": ASSIGNMENT["redis"],
        }
    }
else:
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            # Its default, 300, throws away most of what some scenarios store.
            "OPTIONS": {"MAX_ENTRIES": 10_000_000},
        }
    }

# What the contender adds, or replaces.
_added = CONTENDERS[ASSIGNMENT["contender"]].settings(ASSIGNMENT)
INSTALLED_APPS = [*_added.pop("APPS", []), *INSTALLED_APPS]
globals().update(_added)
