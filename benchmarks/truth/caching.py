"""How each contender is asked, and how it is asked to let the database answer.

What :class:`tests.querysets.histories.Layercache` and :class:`tests.querysets.oracle.Layercache` are
for the tests. All cache everything without a word.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest import mock

from django.db import connections
from django.test.utils import CaptureQueriesContext

from tests.querysets import histories
from tests.querysets.histories import ALIAS

__all__ = ["CACHING", "Caching"]


class Caching:
    """Plain Django, and what all have in common: an answer for which no query ran is a hit."""

    lag = 0.0

    def warm_up(self) -> None:
        """Do what each process would have to; connect to nothing."""

    def cached(self, queryset: Any) -> Any:
        return queryset

    def truth(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def hits(self) -> int:
        return 0


class Cachalot(Caching):
    def truth(self) -> AbstractContextManager[Any]:
        from cachalot.api import cachalot_disabled

        return cachalot_disabled()


class Cacheops(Caching):
    def truth(self) -> AbstractContextManager[Any]:
        from cacheops.conf import settings

        return mock.patch.dict(settings.__dict__, CACHEOPS_ENABLED=False)


class Layercache(Caching):
    def warm_up(self) -> None:
        histories.Layercache().warm_up()

    def truth(self) -> AbstractContextManager[Any]:
        from django_layercache import no_cache

        return no_cache()


CACHING: dict[str, type[Caching]] = {
    "plain": Caching,
    "cachalot": Cachalot,
    "cacheops": Cacheops,
    "layercache": Layercache,
}


class Asked:
    """A contender for the oracle. An error is an answer, and a wrong one."""

    def __init__(self, caching: Caching) -> None:
        self._caching = caching

    def ask(self, read: Callable[..., Any], *args: Any) -> tuple[Any, bool]:
        from tests.querysets.world import plain  # which needs the models

        connections[ALIAS].queries_log.clear()  # which has an end
        with CaptureQueriesContext(connections[ALIAS]) as captured:
            try:
                answer = plain(read(*args))
            except Exception as error:
                return repr(error), False
        return answer, not captured.captured_queries

    def truth(self, read: Callable[..., Any], *args: Any) -> Any:
        from tests.querysets.world import plain

        with self._caching.truth():
            return plain(read(*args))
