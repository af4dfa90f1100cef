"""Which transactions PostgreSQL has open, for the grace after a store has lost its marks."""

from collections.abc import Callable

from django.db import connections

from django_layercache.querysets.connections import state_of

__all__ = ["PostgresTransactions"]

_SNAPSHOT = "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint FROM pg_current_snapshot() s"


class PostgresTransactions:
    """The transactions of all databases of the project; all of them have to be PostgreSQL's."""

    def __init__(self, aliases: list[str]) -> None:
        self._aliases = aliases

    @classmethod
    def of_settings(cls) -> "PostgresTransactions | None":
        """``None`` if there is a database that cannot tell."""
        aliases = list(connections)
        vendors = {connections[alias].vendor for alias in aliases}
        return cls(aliases) if vendors == {"postgresql"} else None

    def remember(self) -> Callable[[], bool]:
        """See :class:`~django_layercache.engine.OpenTransactions`."""
        try:
            newest = {alias: _snapshot(alias)[1] for alias in self._aliases}
        finally:
            connections.close_all()

        def have_ended() -> bool:
            try:
                return all(_snapshot(alias)[0] >= xmax for alias, xmax in newest.items())
            finally:
                connections.close_all()

        return have_ended


def _snapshot(alias: str) -> tuple[int, int]:
    """The oldest transaction that is open, and the one that the next to begin will be."""
    connection = connections[alias]
    with state_of(connection).unwatched(), connection.cursor() as cursor:
        cursor.execute(_SNAPSHOT)
        oldest, following = cursor.fetchone()
    return oldest, following
