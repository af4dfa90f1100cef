"""What a query is asked for: the words of ``operations`` in the policy of a model."""

from typing import Final

from django.db.models import Value
from django.db.models.query import MAX_GET_RESULTS
from django.db.models.sql.constants import SINGLE
from django.db.models.sql.query import Query

__all__ = ["OPERATIONS", "operation_of"]

#: ``get``: one row, by ``get()``; ``fetch``: rows in any other way.
OPERATIONS: Final = frozenset({"aggregate", "count", "exists", "fetch", "get"})


def operation_of(query: Query, result_type: str | None) -> str:
    """Which of :data:`OPERATIONS` *query* serves, told by the marks that Django's methods leave on it."""
    if result_type != SINGLE:
        return "get" if _has_the_limit_of_get(query) else "fetch"
    if isinstance(query.annotation_select.get("a"), Value):
        return "exists"
    return "count" if "__count" in query.annotation_select else "aggregate"


def _has_the_limit_of_get(query: Query) -> bool:
    return (query.low_mark, query.high_mark) == (0, MAX_GET_RESULTS) and not query.order_by
