"""The layer of pages: whole responses, for a view or for the site.

- :mod:`~django_layercache.pages.django_rules`: Django's own cache middleware decides,
- :mod:`~django_layercache.pages.storable`: what we add to that, one sentence each,
- :mod:`~django_layercache.pages.watching`: reads that Django does not notice,
- :mod:`~django_layercache.pages.locales`: the language and time zone that a page will have,
- :mod:`~django_layercache.pages.variants`: which request headers a URL's pages differ by,
- :mod:`~django_layercache.pages.headers`: what a page says to browsers and proxies,
- :mod:`~django_layercache.pages.visits`: one request: all decisions, no I/O,
- :mod:`~django_layercache.pages.layer`: the I/O around it, sync and async,
- :mod:`~django_layercache.pages.views`: views as such a layer.
"""

from django_layercache.pages.layer import PageLayer
from django_layercache.pages.views import decorate_view
from django_layercache.pages.watching import watch

__all__ = ["PageLayer", "decorate_view", "watch"]
