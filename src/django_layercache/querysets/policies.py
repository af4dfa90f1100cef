"""Which querysets are cached, and how: ``.cached()``, ``.no_cache()``, ``cached_queries()``, ``MODELS``."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import _GeneratorContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from django.db.models.sql.query import Query

from django_layercache.querysets.operations import OPERATIONS, operation_of
from django_layercache.querysets.tables import (
    Models,
    name_for,
    of_all_models,
    of_models_setting,
)
from django_layercache.tags import table_name
from django_layercache.timeouts import DEFAULT, Timeout, checked_timeout

__all__ = [
    "NOT_CACHED",
    "Policy",
    "applicable_policy",
    "are_models",
    "cached_queries",
    "compares",
    "in_block",
    "may_be_view",
    "own_policy",
    "policy_of",
    "reservations",
    "set_policy",
]

_ATTRIBUTE = "_layercache_policy"


@dataclass(frozen=True, slots=True)
class Policy:
    """What *source* says of results: whether and which are cached, for how long, and up to which size.

    ``timeout`` is in seconds; ``None`` for ever, 0 not at all, ``DEFAULT`` what the model's
    policy, or else the settings, say. Results of more rows or bytes than the limits are not stored.
    """

    source: str
    timeout: Timeout = DEFAULT
    is_cached: bool = True
    operations: Collection[str] = OPERATIONS
    max_rows: int | None = None
    max_bytes: int | None = None

    def objection(self, query: Query, result_type: str | None) -> str | None:
        """Why the results of *query* are not cached, if they are not."""
        if not self.is_cached:
            return f"{self.source} says so"
        if self.operations is not OPERATIONS:
            operation = operation_of(query, result_type)
            if operation not in self.operations:
                return f"{self.source} does not name the operation {operation!r}"
        return None

    def over(self, model: "Policy | None") -> "Policy":
        """What this one leaves open is as the policy of the model says."""
        if model is None or not self.is_cached:
            return self
        timeout = model.timeout if self.timeout is DEFAULT else self.timeout
        return Policy(self.source, timeout, True, OPERATIONS, model.max_rows, model.max_bytes)


#: Of a queryset that is to be asked of the database each time.
NOT_CACHED = Policy(".no_cache()", is_cached=False)

_block: ContextVar[Policy | None] = ContextVar("layercache_queries", default=None)


def cached_queries(timeout: Timeout = DEFAULT) -> "_GeneratorContextManager[None]":
    """Cache every queryset that is evaluated inside the block (or the decorated function).

    *timeout* is in seconds; left out, the model's setting or ``TIMEOUT`` holds. Models that the
    settings exclude stay excluded, and so do querysets with ``.no_cache()``.
    """
    return in_block(Policy("cached_queries()", checked_timeout(timeout)))


@contextmanager
def in_block(policy: Policy) -> Iterator[None]:
    """Let *policy* hold for every queryset that is evaluated inside."""
    reset = _block.set(policy)
    try:
        yield
    finally:
        _block.reset(reset)


def set_policy(query: Query, policy: Policy) -> None:
    """Let *policy* hold for *query*, and for the queries that Django derives from it."""
    setattr(query, _ATTRIBUTE, policy)


def own_policy(query: Query) -> Policy | None:
    """What ``.cached()`` or ``.no_cache()`` said of *query*, or of the one that it wraps."""
    own: Policy | None = query.__dict__.get(_ATTRIBUTE)
    if own is None and (inner := getattr(query, "inner_query", None)) is not None:
        own = inner.__dict__.get(_ATTRIBUTE)
    return own


def policy_of(query: Any, result_type: str | None) -> Policy | None:
    """The policy by which the results of *query* are cached. ``None``: they are not."""
    policy = applicable_policy(query)
    if policy is None or policy.objection(query, result_type) is not None:
        return None
    return policy


def applicable_policy(query: Any) -> Policy | None:
    """The nearest policy: the queryset's own, the block's, the model's. ``None``: nobody says anything."""
    said = own_policy(query) or _block.get()
    model = None if query.model is None else _models().policy_for(query.model)
    return model if said is None else said.over(model)


def reservations(tables: Collection[str]) -> tuple[str | None, str | None]:
    """Why it is not known what changes one of *tables*; and why no query on them is cached all the same.

    A model that Django does not manage may stand for a view, or be filled by somebody else.
    The settings say otherwise by naming it.
    """
    models = _models()
    return models.unknown.first_of(tables), models.excluded.first_of(tables)


def are_models(tables: Collection[str]) -> bool:
    """Whether each of *tables* is the table of a model."""
    return _models().tables.issuperset(tables)


def may_be_view(table: str) -> bool:
    """Whether what is written to *table* may change others: of a model that Django manages it does not."""
    name = {table_name(table)}
    return not are_models(name) or reservations(name)[0] is not None


def compares(model: type[Model]) -> bool:
    """Whether an UPDATE of rows of *model* first looks what it is going to change."""
    setting = _models().setting_for(model)
    return setting.get("compare", True) if isinstance(setting, Mapping) else setting is not False


class _Reasons(dict[str, str]):
    def first_of(self, tables: Collection[str]) -> str | None:
        if not self or self.keys().isdisjoint(tables):
            return None
        return next(self[table] for table in tables if table in self)


class _Models:
    """``MODELS`` of the settings, applied to the models there are."""

    def __init__(self, models: Models, settings: Mapping[str, Any]) -> None:
        self._settings = {str(name).lower(): value for name, value in settings.items()}
        self.excluded = _Reasons(django_migrations="django_migrations is never cached")
        self.unknown = _Reasons()
        self._policies = {model: self._policy(model) for model in models} if settings else {}
        self.tables = {table_name(model._meta.db_table) for model in models} | {
            "django_migrations",
            "sqlite_sequence",
        }
        for model in models:
            meta, setting = model._meta, self.setting_for(model)
            if setting is False:
                self.excluded[table_name(meta.db_table)] = f"{meta.label} is excluded by MODELS"
            elif not meta.managed and not isinstance(setting, Mapping) and not meta.proxy:
                self.unknown[table_name(meta.db_table)] = (
                    f"{meta.label} is not managed by Django and may be a view; name it in MODELS if it is not"
                )

    def setting_for(self, model: type[Model]) -> Any:
        """What is said of *model*: its own entry, else its app's, else that of ``*``."""
        return self._settings.get(name_for(model, self._settings))

    def policy_for(self, model: type[Model]) -> Policy | None:
        """The policy that is said of *model*."""
        if not self._settings:
            return None
        # Historical models, and those of other registries, are not kept: nobody would forget them.
        return self._policies[model] if model in self._policies else self._policy(model)

    def _policy(self, model: type[Model]) -> Policy | None:
        setting = self.setting_for(model)
        if not isinstance(setting, Mapping):
            return None
        return Policy(
            f"MODELS[{name_for(model, self._settings)!r}]",
            setting.get("timeout", DEFAULT),
            setting.get("cached", True),
            setting.get("operations", OPERATIONS),
            setting.get("max_rows"),
            setting.get("max_bytes"),
        )


_models = of_all_models(of_models_setting, _Models)
