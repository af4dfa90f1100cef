"""What the cache would do with a queryset, and why, without running its query or storing anything."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.models.sql.constants import MULTI

from django_layercache.engine import Outcome
from django_layercache.handlers import get_engine
from django_layercache.querysets import policies
from django_layercache.querysets.plans import Plan, plan_of
from django_layercache.querysets.reads import recipe_of
from django_layercache.tags import readable
from django_layercache.timeouts import in_force

__all__ = ["Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would happen if a queryset were evaluated now. ``print()`` it.

    ``outcome`` is ``"hit"``, ``"miss"`` or ``"bypass"``, and ``reason`` says why it is no hit, or
    why a miss would not be stored. ``tags`` is what the result depends on, ``key`` where it is
    kept; both are empty where that is not known. ``policy`` says who wants it cached, and
    ``timeout`` for how many seconds: ``None`` for ever.
    """

    outcome: Outcome
    reason: str = ""
    key: str = ""
    tags: tuple[str, ...] = ()
    policy: str = ""
    timeout: float | None = 0

    def __str__(self) -> str:
        lines = [f"{self.outcome}: {self.reason}" if self.reason else self.outcome]
        if self.policy:
            lines.append(f"policy   {self.policy}, {self._time()}")
        if self.tags:
            lines.append(f"tags     {', '.join(self.tags)}")
        if self.key:
            lines.append(f"key      {self.key}")
        return "\n".join(lines)

    def _time(self) -> str:
        return "no expiry" if self.timeout is None else f"{self.timeout:g} seconds"


def explain(queryset: Any) -> Explanation:
    """What evaluating *queryset* would do."""
    query = queryset.query.chain()
    policy = policies.applicable_policy(query)
    if policy is None:
        return Explanation(
            "bypass", "nothing says that it is cached: .cached(), cached_queries() or MODELS"
        )
    why = policy.objection(query, MULTI)
    if why is not None:
        return Explanation("bypass", why)
    compiler = query.get_compiler(queryset.db)
    if compiler.connection.needs_rollback:
        return Explanation("bypass", "the transaction is broken, and waits for its rollback")
    try:
        statement = compiler.as_sql()
    except (EmptyResultSet, FullResultSet):
        return Explanation("bypass", "Django answers it without a query: nothing can match")
    return _judged(plan_of(compiler, *statement), policy)


def _judged(plan: Plan, policy: policies.Policy) -> Explanation:
    if plan.unknown is not None:
        return Explanation("bypass", f"its dependencies are not known: {plan.unknown}")
    timeout = in_force(policy.timeout)
    if plan.uncacheable is not None:
        tags = readable(plan.tags)
        return Explanation("bypass", plan.uncacheable, "", tags, policy.source, timeout)
    recipe = recipe_of(plan, policy, MULTI)
    peek = get_engine().peek(recipe)
    return Explanation(
        peek.outcome, peek.reason, recipe.key, readable(peek.tags), policy.source, timeout
    )
