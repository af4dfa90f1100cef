"""The node that renders a fragment, or shows what it rendered before."""

from dataclasses import dataclass
from typing import Any

from django.template import Context
from django.template.base import FilterExpression, Node, NodeList
from django.template.exceptions import TemplateSyntaxError
from django.utils.safestring import SafeString, mark_safe

from django_layercache import tenants
from django_layercache.engine import Recipe
from django_layercache.exceptions import InvalidArgument, UnkeyableArgument
from django_layercache.fragments.rows import rows_behind, user_names
from django_layercache.fragments.sources import Facts, Source
from django_layercache.fragments.visitors import watching
from django_layercache.handlers import get_engine
from django_layercache.serializers.keyable import active_locale, canonical, shorten
from django_layercache.serializers.sharing import size_of_plain
from django_layercache.serializers.text import TextCodec
from django_layercache.timeouts import checked_timeout, in_force

__all__ = ["FragmentNode", "Terms", "seconds"]

LAYER = "fragments"
#: To be raised when keys, or the bytes under them, come to mean something else.
FORMAT = 1


def seconds(value: Any) -> float | None:
    """*value* as a timeout; a settings module or a view may hold it as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass  # the error is the same as for anything else that is no number
    return in_force(checked_timeout(value))


@dataclass(frozen=True, slots=True)
class Terms:
    """What stands in the tag."""

    tag: str
    timeout: FilterExpression
    name: str
    varies: tuple[FilterExpression, ...]


class FragmentNode(Node):
    """``{% layercache timeout name vary… %}``: *nodelist*, rendered from *source*."""

    def __init__(self, terms: Terms, nodelist: NodeList, source: Source) -> None:
        self.terms = terms
        self.nodelist = nodelist
        self.source = source

    def render(self, context: Context) -> SafeString:
        """The markup, from the store or rendered now."""
        facts = self.source.facts(context)
        timeout = self._seconds(context)
        try:
            rows = rows_behind(context, facts.names, self._varies)
        except UnkeyableArgument:
            rows, timeout = "", 0  # rows that no key can tell apart: rendered each time
        key = self._key(context, facts, rows)
        recipe = Recipe(LAYER, key, TextCodec(), timeout, size_of=size_of_plain)
        names = facts.names | self._varies
        knows_user = bool(user_names(names))
        knows_session = any(f"{name}.".startswith("request.session.") for name in self._varies)

        def build() -> str:
            with watching(context, knows_user=knows_user, knows_session=knows_session):
                return str(self.nodelist.render(context))

        markup: str = get_engine().get_or_build(recipe, build)
        return mark_safe(markup)  # noqa: S308 - as it was rendered

    # -- the key --------------------------------------------------------------------------

    @property
    def _varies(self) -> frozenset[str]:
        """What the fragment varies on, where that is a name and nothing more."""
        return frozenset(vary.token for vary in self.terms.varies if not vary.filters)

    def _key(self, context: Context, facts: Facts, rows: str) -> str:
        varies = [self._spell(vary, context) for vary in self.terms.varies]
        made_from = (
            self.terms.name,
            getattr(self.origin, "template_name", None),
            facts.digest,
            active_locale(),
            context.autoescape,
            rows,
        )
        parts = (LAYER, str(FORMAT), shorten(self.terms.name), shorten("".join(varies)))
        tenant = tenants.current()
        key = ":".join((*parts, shorten(canonical(made_from))))
        return f"{key}@{tenant}" if tenant else key

    def _spell(self, expression: FilterExpression, context: Context) -> str:
        try:
            return canonical(expression.resolve(context, ignore_failures=True))
        except UnkeyableArgument as error:
            raise TemplateSyntaxError(
                f"{{% {self.terms.tag} %}} cannot vary on {expression.token!r}, which is {error}. "
                "Vary on something plain, such as its primary key."
            ) from None

    def _seconds(self, context: Context) -> float | None:
        value = self.terms.timeout.resolve(context)
        try:
            return seconds(value)
        except InvalidArgument:
            raise TemplateSyntaxError(
                f"{{% {self.terms.tag} %}}: {self.terms.timeout.token!r} is {value!r}. "
                "A timeout is a number of seconds, or None for no expiry."
            ) from None
