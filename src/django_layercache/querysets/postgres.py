"""Which transactions PostgreSQL has open, for the grace after a store has lost its marks."""

from collections.abc import Callable

from django.db import connections

from django_layercache.querysets.databases import is_primary
from django_layercache.querysets.watching import ours

__all__ = ["PostgresTransactions"]

_OLDEST = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
#: An id of one's own is the only one that is certainly newer: a snapshot's xmax is merely the one
#: after the last that has *ended*, and so the id of a transaction that is open, if that is the last.
_NEXT = "SELECT pg_current_xact_id()::text::bigint"


class PostgresTransactions:
    """The transactions of all databases of the project; all of them have to be PostgreSQL's."""

    def __init__(self, aliases: list[str]) -> None:
        self._aliases = aliases

    @classmethod
    def of_settings(cls) -> "PostgresTransactions | None":
        """``None`` if there is a database that cannot tell."""
        aliases = [alias for alias in connections if is_primary(alias)]
        vendors = {connections[alias].vendor for alias in aliases}
        return cls(aliases) if vendors == {"postgresql"} else None

    def remember(self) -> Callable[[], bool]:
        """See :class:`~django_layercache.engine.OpenTransactions`."""
        try:
            ours = {alias: _ask(alias, _NEXT) for alias in self._aliases}
        finally:
            connections.close_all()

        def have_ended() -> bool:
            try:
                return all(_ask(alias, _OLDEST) >= ours[alias] for alias in self._aliases)
            finally:
                connections.close_all()

        return have_ended


def _ask(alias: str, question: str) -> int:
    connection = connections[alias]
    with ours(), connection.cursor() as cursor:
        cursor.execute(question)
        (answer,) = cursor.fetchone()
    return int(answer)
