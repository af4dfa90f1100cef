"""The settings of the tests, with one contender that caches the queries of all models in Redis."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import _REDIS_URL, CACHES, INSTALLED_APPS

CONTENDER = os.environ["LAYERCACHE_CONTENDER"]
TIMEOUT = 3600

CACHES = {"default": CACHES["redis"], "redis": CACHES["redis"]}
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django_layercache"]
if CONTENDER != "plain":
    _app = "django_layercache" if CONTENDER == "layercache" else CONTENDER
    INSTALLED_APPS = [_app, *INSTALLED_APPS]

CACHALOT_TIMEOUT = TIMEOUT
CACHEOPS_REDIS = _REDIS_URL
CACHEOPS = {"*.*": {"ops": "all", "timeout": TIMEOUT}}
# A lease of a second: writers die, and what they marked is to be answered from the cache again.
LAYERCACHE = {"CACHE": "redis", "TIMEOUT": TIMEOUT, "MODELS": {"*": {}}, "GRACE": 0, "LEASE": 1}
