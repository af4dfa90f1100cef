"""Which tables of PostgreSQL a trigger has to be on, so that no change of a model's table is missed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_layercache.querysets import policies
from django_layercache.querysets.tables import table_of
from django_layercache.tags import table_name

__all__ = ["Relation", "quoted", "relations_of"]

#: A table, its partitions, and the tables that inherit from it, at any depth.
_BELOW = """
    WITH RECURSIVE below AS (
        SELECT %s::oid AS relation
        UNION SELECT inhrelid FROM pg_catalog.pg_inherits JOIN below ON inhparent = relation
    )
    SELECT c.oid, n.nspname, c.relname
      FROM below JOIN pg_catalog.pg_class c ON c.oid = relation
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p')
"""
_ABOVE = """
    WITH RECURSIVE above AS (
        SELECT %s::oid AS relation
        UNION SELECT inhparent FROM pg_catalog.pg_inherits JOIN above ON inhrelid = relation
    )
    SELECT c.relname FROM above JOIN pg_catalog.pg_class c ON c.oid = relation
"""
#: The columns whose values have one spelling each; those of texts are told apart.
_COLUMNS = """
    SELECT attname, typcategory = 'S'
      FROM pg_catalog.pg_attribute
      JOIN pg_catalog.pg_type t ON t.oid = atttypid
      LEFT JOIN pg_catalog.pg_collation l ON l.oid = attcollation
     WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped
       AND t.typname IN ('int2', 'int4', 'int8', 'uuid', 'varchar', 'text')
       AND coalesce(l.collisdeterministic, true)
     ORDER BY attnum
"""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that is to have triggers.

    ``relatives`` are the models' tables above and below it, whose rows it has or that have its
    rows; ``is_models`` says that it is a model's itself. ``columns`` are those whose values are
    to be told, ``texts`` those of them that hold texts.
    """

    schema: str
    name: str
    is_models: bool
    relatives: tuple[str, ...]
    columns: tuple[str, ...]
    texts: frozenset[str]

    @property
    def place(self) -> tuple[str, str]:
        return self.schema, self.name

    @property
    def all_tables(self) -> tuple[str, ...]:
        return (*self.relatives, self.name) if self.is_models else self.relatives


def relations_of(connection: BaseDatabaseWrapper, table: str) -> list[Relation]:
    """*table*, quoted where it has to be, with all that is below it.

    Nothing, if there is no such table, or if it is a view: that can have no such triggers.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regclass(%s)::oid", [table])
        cursor.execute(_BELOW, cursor.fetchone())
        return [_relation(cursor, *row) for row in cursor.fetchall()]


def quoted(*parts: str) -> str:
    """A name as SQL has it; of several parts with dots between them."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def _relation(cursor: Any, oid: int, schema: str, name: str) -> Relation:
    cursor.execute(_ABOVE, [oid])
    kin = {row[0] for row in cursor.fetchall()}
    cursor.execute(_BELOW, [oid])
    kin |= {row[2] for row in cursor.fetchall()}
    relatives = sorted(table for table in kin - {name} if _is_models(table))
    is_models = _is_models(name)
    wanted = set(_telling_columns((*relatives, name)))
    cursor.execute(_COLUMNS, [oid])
    spelt = {column: is_text for column, is_text in cursor.fetchall() if column in wanted}
    texts = frozenset(column for column, is_text in spelt.items() if is_text)
    return Relation(schema, name, is_models, tuple(relatives), tuple(spelt), texts)


def _is_models(table: str) -> bool:
    return policies.are_models({table_name(table)})


def _telling_columns(tables: Iterable[str]) -> Iterator[str]:
    """The columns that rows and partitions are named by."""
    for table in tables:
        yield from (str(field.column) for field in table_of(table).partitions)
        yield from (
            model._meta.pk.column for model in table_of(table).models if model._meta.pk.column
        )
