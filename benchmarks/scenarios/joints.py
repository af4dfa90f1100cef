"""The joints of our own read path, by name: ``tests/benchmarks`` fails where one is not there any more."""

from importlib import import_module
from typing import Any

REST = "Django: the queryset, as the view writes it"

#: What is timed at which joint, in the order of the table: label, module, path of the attribute.
JOINTS = [
    ("Django: fetching, instances from rows", "django.db.models.query", "QuerySet._fetch_all"),
    ("Django: compiling the statement", "django.db.models.sql.compiler", "SQLCompiler.as_sql"),
    ("which policy", "django_layercache.querysets.policies", "policy_of"),
    ("the plan: tables, rows, tags, key", "django_layercache.querysets.reads", "plan_of"),
    ("the read path around all this", "django_layercache.querysets.seams", "reads.read"),
    ("which transactions are open", "django_layercache.engine.core", "Core._attempt"),
    ("the engine", "django_layercache.engine.core", "Core.get_or_build"),
    ("the store", "django_layercache.stores.{store}", "{Store}.read"),
    ("the round trip", "django_layercache.stores.wire", "Wires.exchange"),
    ("the entry's header", "django_layercache.stores.entries", "unpack"),
    ("comparing the tokens", "django_layercache.engine.attempts", "Attempt.judge"),
    ("decoding the rows", "django_layercache.serializers.rows", "RowsCodec.loads"),
]


def resolved(module: str, path: str, store: str) -> tuple[Any, str]:
    """What holds the attribute that *path* leads to, and the attribute's name."""
    owner: Any = import_module(module.format(store=store))
    *parents, name = path.format(Store=f"{store.title()}Store").split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name
