"""ASGI entry point of the example site."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "windsock.settings")

application = get_asgi_application()
