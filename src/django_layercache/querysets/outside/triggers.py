"""The triggers that tell which rows a statement changed, whoever sent it.

For each statement, not for each row: a transition table has the rows, and one notification
names their keys. NOTIFY is part of the transaction, so it arrives after the COMMIT or never.

Each table has a function of its own, which is quicker than one for all that composes its
queries. Its comment says what it was made from, so that an old one is recognised.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django_layercache.querysets.outside.relations import Relation, quoted

__all__ = ["CHANNEL", "Definition", "Installed", "create", "definition", "drop", "installed"]

CHANNEL = "layercache"

#: A statement that changed more rows than this, old and new ones counted, changed unknown rows.
MOST_ROWS = 100

#: Longer texts are not sent: everybody in the database may listen, and they may be secrets.
LONGEST_TEXT = 24

_FUNCTION = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $layercache$
DECLARE
    changed bigint;
    found jsonb;
    message text;
BEGIN
    IF pg_catalog.pg_trigger_depth() = 1
        AND pg_catalog.current_setting('layercache.watched', true) = 'on'
    THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF TG_OP = 'INSERT' THEN
            SELECT {found} INTO changed, found FROM (
                SELECT {columns} FROM layercache_new LIMIT {limit}
            ) AS few;
        ELSIF TG_OP = 'UPDATE' THEN
            SELECT {found} INTO changed, found FROM (
                SELECT {columns} FROM layercache_old UNION ALL SELECT {columns} FROM layercache_new
                LIMIT {limit}
            ) AS few;
        ELSIF TG_OP = 'DELETE' THEN
            SELECT {found} INTO changed, found FROM (
                SELECT {columns} FROM layercache_old LIMIT {limit}
            ) AS few;
        END IF;
    EXCEPTION WHEN OTHERS THEN
        changed := NULL; -- a column is not there any more: no reason for the statement to fail
    END;
    IF changed = 0 THEN
        RETURN NULL;
    ELSIF changed = {limit} OR changed IS NULL THEN
        found := '{{}}';
    END IF;
    message := pg_catalog.jsonb_build_object('tables', {tables}, 'columns', found)::text;
    IF pg_catalog.octet_length(message) > 7900 THEN
        message := pg_catalog.jsonb_build_object('tables', {tables}, 'columns', '{{}}'::jsonb)::text;
    END IF;
    PERFORM pg_catalog.pg_notify('{channel}', message);
    RETURN NULL;
END
$layercache$
"""

_EVENTS = {
    "INSERT": "REFERENCING NEW TABLE AS layercache_new",
    "UPDATE": "REFERENCING OLD TABLE AS layercache_old NEW TABLE AS layercache_new",
    "DELETE": "REFERENCING OLD TABLE AS layercache_old",
    "TRUNCATE": "",
}

_INSTALLED = """
    SELECT p.oid::pg_catalog.regprocedure::text, pg_catalog.obj_description(p.oid, 'pg_proc'),
           n.nspname, c.relname, pg_catalog.count(t.oid) FILTER (WHERE t.tgenabled = 'A')
      FROM pg_catalog.pg_proc p
      LEFT JOIN pg_catalog.pg_trigger t ON t.tgfoid = p.oid
      LEFT JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
      LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE pg_catalog.starts_with(pg_catalog.obj_description(p.oid, 'pg_proc'), 'layercache {')
     GROUP BY p.oid, n.nspname, c.relname
     ORDER BY n.nspname, c.relname
"""


@dataclass(frozen=True, slots=True)
class Installed:
    """A function that is in the database, on the table *schema*.*name* if that is still there.

    *tables* are those whose change it reports.
    """

    function: str
    digest: str
    tables: tuple[str, ...]
    schema: str | None
    name: str | None
    is_complete: bool

    @property
    def place(self) -> tuple[str | None, str | None]:
        return self.schema, self.name


@dataclass(frozen=True, slots=True)
class Definition:
    """What is to be in the database for one table."""

    statements: tuple[str, ...]
    digest: str
    relation: Relation


def definition(relation: Relation) -> Definition:
    """The statements that make the triggers of *relation*."""
    table = quoted(*relation.place)
    digest = hashlib.blake2b(table.encode(), digest_size=4).hexdigest()
    function = quoted(relation.schema, f"layercache_{relation.name[:40]}_{digest}")
    body = _body(relation, function)
    triggers = [
        f"CREATE TRIGGER layercache_{event.lower()} AFTER {event} ON {table} {transition}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        for event, transition in _EVENTS.items()
    ]
    # Also where a session has said that it is a replica, as programs do that load in bulk.
    always = ", ".join(f"ENABLE ALWAYS TRIGGER layercache_{event.lower()}" for event in _EVENTS)
    statements = (body, *triggers, f"ALTER TABLE {table} {always}")
    whole = hashlib.blake2b("\n".join(statements).encode(), digest_size=8).hexdigest()
    about = json.dumps({"digest": whole, "tables": relation.all_tables})
    comment = f"COMMENT ON FUNCTION {function}() IS {_text(f'layercache {about}')}"
    return Definition((*statements, comment), whole, relation)


def create(cursor: Any, wanted: Definition, there: Iterable[Installed]) -> bool:
    """Make what is *wanted*, in the place of what is *there* for its table. Whether anything was to do."""
    ours = [one for one in there if one.place == wanted.relation.place]
    if len(ours) == 1 and ours[0].is_complete and ours[0].digest == wanted.digest:
        return False
    drop(cursor, ours)
    for statement in wanted.statements:
        cursor.execute(statement)
    return True


def drop(cursor: Any, there: Iterable[Installed]) -> None:
    """Remove the functions *there*, and with them their triggers."""
    for one in there:
        cursor.execute(f"DROP FUNCTION {one.function} CASCADE")


def installed(cursor: Any) -> list[Installed]:
    """All that is in the database that *cursor* belongs to: Django's, or the driver's own."""
    cursor.execute(_INSTALLED)
    return [_installed(*row) for row in cursor.fetchall()]


def _installed(
    function: str, comment: str, schema: str | None, name: str | None, triggers: int
) -> Installed:
    about = json.loads(comment.removeprefix("layercache "))
    # The table may have been renamed since; what it reports then is its present name.
    tables = dict.fromkeys([*about["tables"], *([name] if name else [])])
    return Installed(
        function, about["digest"], tuple(tables), schema, name, triggers == len(_EVENTS)
    )


def _body(relation: Relation, function: str) -> str:
    tables = f"ARRAY[{', '.join(map(_text, relation.relatives))}]::text[]"
    if relation.is_models:
        tables += " || TG_TABLE_NAME::text"  # whatever it is called by then
    return _FUNCTION.format(
        function=function,
        channel=CHANNEL,
        limit=MOST_ROWS + 1,
        columns=", ".join(map(quoted, relation.columns)) or "1",
        found=_found(relation),
        tables=f"pg_catalog.to_jsonb({tables})",
    )


def _found(relation: Relation) -> str:
    """How many rows there are, and by column the values that they have."""
    pairs = ", ".join(
        f"{_text(column)}, {_values(column, is_text=column in relation.texts)}"
        for column in relation.columns
    )
    return f"pg_catalog.count(*), pg_catalog.jsonb_build_object({pairs})"


def _values(column: str, *, is_text: bool) -> str:
    values = f"pg_catalog.jsonb_agg(DISTINCT {quoted(column)})"
    if not is_text:
        return values
    length = f"pg_catalog.max(pg_catalog.length({quoted(column)}))"
    return f"CASE WHEN {length} <= {LONGEST_TEXT} THEN {values} END"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
