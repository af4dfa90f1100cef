"""Settings of Windsock, the example site of django-layercache. For a demo on your own machine, not for a server."""

import os
from pathlib import Path
from typing import Any

BASE_DIR = Path(__file__).resolve().parent.parent

#: Everything the running site writes. `WINDSOCK_VAR` moves it, so that tests never touch the demo's database.
VAR_DIR = Path(os.environ.get("WINDSOCK_VAR", BASE_DIR / "var"))
VAR_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "demo-only-and-public-never-use-this-key-for-a-real-site"
DEBUG = True  # shows tracebacks to whoever asks: fit for a demo on loopback and for nothing else
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "django_layercache",
    "atlas",
    "strip",
    "showcase",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    # The strip watches everything below it and writes into the answer, so it has to be outside of the page cache.
    "strip.middleware.StripMiddleware",
    "django_layercache.middleware.LayerCacheMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "windsock.urls"
WSGI_APPLICATION = "windsock.wsgi.application"
ASGI_APPLICATION = "windsock.asgi.application"

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

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR_DIR / "windsock.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "timeout": 20,
        },
    },
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "atlas.Member"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "atlas:home"
LOGOUT_REDIRECT_URL = "atlas:home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"

# -- caching ---------------------------------------------------------------------------------------------------------

REDIS_URL = os.environ.get("REDIS_URL", "")
MEMCACHED = os.environ.get("MEMCACHED", "")  # its servers: "10.0.0.5:11211,10.0.0.6:11211"

CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
}
if REDIS_URL:
    CACHES["layers"] = {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
    }
elif MEMCACHED:
    CACHES["layers"] = {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": MEMCACHED,
    }

LAYERCACHE: dict[str, Any] = {
    # Without a server the layers live in this process: exact as long as this process makes all the edits.
    "CACHE": "layers" if "layers" in CACHES else None,
    "NAMESPACE": "windsock",
    # What this process has read stays here, too, for as long as the server says that it has not changed.
    "NEAR": {"freshness": "pushed", "max_bytes": 16 * 1024 * 1024} if REDIS_URL else None,
    "TIMEOUT": 600,
    "MODELS": {
        # Small and hardly ever changed: every query on these two is cached without a word in the views.
        "atlas.continent": {"timeout": 3600},
        "atlas.country": {"timeout": 3600, "max_rows": 500},
        # Found by their airport: a new review changes what is about its airport, and not what is about another's.
        "atlas.review": {"partition_by": ["airport"]},
        # Read once per request and different for each visitor: caching them would only fill the store.
        "sessions.session": False,
        "admin.logentry": False,
    },
}
