"""Statements read by sqlglot, with the connection's dialect."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django_layercache.querysets.effects import Effect
from django_layercache.querysets.sqlfunctions import unknown_functions
from django_layercache.tags import table_name

try:
    import sqlglot
    from sqlglot import expressions as exp
    from sqlglot.errors import SqlglotError
except ImportError:  # pragma: no cover - the tests install it
    sqlglot = None  # type: ignore[assignment]

__all__ = ["HAS_PARSER", "parse"]

HAS_PARSER = sqlglot is not None

_DIALECTS = {"postgresql": "postgres", "sqlite": "sqlite", "mysql": "mysql", "oracle": "oracle"}
_PARAMETER = re.compile(r"%s|%\(\w+\)s")


def parse(sql: str, vendor: str) -> Effect | None:
    """What *sql* does, or ``None`` if that cannot be read."""
    text = _PARAMETER.sub("NULL", sql).replace("%%", "%")
    try:
        with _silence():
            statements = sqlglot.parse(text, dialect=_DIALECTS.get(vendor))
    except (
        SqlglotError,
        RecursionError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
    ):
        return None
    reads: set[str] = set()
    writes: set[str] = set()
    deletes: set[str] = set()
    calls: set[str] = set()
    for statement in statements:
        if statement is None:
            continue
        if not isinstance(statement, _readable_statements()):
            return None
        reads |= {_name(table) for table in _tables(statement)}
        calls.update(_called(node) for node in statement.find_all(exp.Anonymous))
        for node in statement.find_all(
            exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable, exp.Into
        ):
            targets = list(_targets(node))
            if not targets and node.find_ancestor(exp.Merge):
                continue  # WHEN MATCHED THEN UPDATE: of the table that MERGE names
            if not targets or _truncates_others(node):
                return None
            writes.update(targets)
            if isinstance(node, (exp.Delete, exp.Merge, exp.TruncateTable)) or _replaces(node):
                deletes.update(targets)
    columns = _updated(statements[0]) if len(statements) == 1 else None
    effect = Effect(frozenset(reads), frozenset(writes), frozenset(deletes), columns=columns)
    return effect.calling(unknown_functions(calls))


@contextmanager
def _silence() -> Iterator[None]:
    """The parser warns of what it cannot read. Here that is no news: it then changes anything."""
    reset = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(reset)


_silent: ContextVar[bool] = ContextVar("layercache_silent_parser", default=False)
if HAS_PARSER:
    logging.getLogger(sqlglot.__name__).addFilter(lambda record: not _silent.get())


def _readable_statements() -> tuple[type, ...]:
    return (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)


def _tables(node: Any) -> Iterator[Any]:
    return (table for table in node.find_all(exp.Table) if table.name)


def _called(function: Any) -> str:
    schema = function.parent.this if isinstance(function.parent, exp.Dot) else None
    return f"{schema.name}.{function.name}" if schema is not None else str(function.name)


def _name(table: Any) -> str:
    return table_name(table.name)


def _targets(node: Any) -> Iterator[str]:
    """The tables that the statement *node* changes."""
    if isinstance(node, exp.TruncateTable):
        yield from (_name(table) for table in node.expressions if isinstance(table, exp.Table))
        return
    this = node.this
    if isinstance(this, exp.Schema):
        this = this.this
    if isinstance(this, exp.Table) and this.name:
        yield _name(this)
    if isinstance(node, (exp.Update, exp.Delete)):
        # UPDATE a JOIN b, DELETE a FROM a JOIN b: which of them is changed depends on the columns.
        joined = [*node.find_all(exp.Join)] if isinstance(this, exp.Table) else []
        for join in joined:
            yield from (_name(table) for table in _tables(join))
        for table in node.args.get("tables") or ():
            yield _name(table)


def _updated(statement: Any) -> frozenset[str] | None:
    """The columns that *statement* sets, if it is an UPDATE of one table and nothing else."""
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into)
    is_all = isinstance(statement, exp.Update) and len([*statement.find_all(*writing)]) == 1
    if not is_all or len([*_targets(statement)]) != 1:
        return None
    columns = [one.this for one in statement.expressions if isinstance(one, exp.EQ)]
    if len(columns) < len(statement.expressions):
        return None
    if not all(isinstance(column, exp.Column) and not column.table for column in columns):
        return None  # several at once, or a part of one
    return frozenset(table_name(column.name) for column in columns)


def _truncates_others(node: Any) -> bool:
    return isinstance(node, exp.TruncateTable) and str(node.args.get("option")).upper() == "CASCADE"


def _replaces(node: Any) -> bool:
    """``REPLACE`` and ``INSERT OR REPLACE`` delete the rows that are in their way."""
    return isinstance(node, exp.Insert) and bool(
        node.args.get("overwrite") or str(node.args.get("alternative") or "").upper() == "REPLACE"
    )
