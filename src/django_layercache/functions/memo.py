"""One cached function: which recipe and which tags each of its calls has."""

from collections.abc import Callable, Iterable
from typing import Any

from django_layercache import tenants
from django_layercache.engine import Recipe
from django_layercache.functions.arguments import Arguments
from django_layercache.functions.options import checked_function, checked_key, checked_tags
from django_layercache.serializers.code import code_digest
from django_layercache.serializers.keyable import active_locale, canonical, is_immutable, shorten
from django_layercache.serializers.sharing import size_of_plain
from django_layercache.serializers.signed import SignedCodec
from django_layercache.timeouts import Timeout, checked_timeout, in_force

__all__ = ["Hooks", "Memo"]

LAYER = "functions"
#: To be raised when keys, or the bytes under them, come to mean something else.
FORMAT = 1


class Hooks:
    """What this layer needs of the one that knows databases and their transactions.

    *touch* gives tags new tokens: at the COMMIT of the transaction that is open, else at once.
    *name* translates what a user wrote (names, models, instances) into tags.
    """

    __slots__ = ("name", "touch")

    def __init__(
        self,
        touch: Callable[[Iterable[str]], None],
        name: Callable[[Iterable[Any]], Iterable[str]],
    ) -> None:
        self.touch = touch
        self.name = name


class Memo:
    """The function, and how its calls are cached.

    Every entry depends on two tags of its own, beside all that was read while it was built: one
    for the call, one for the function. Invalidating gives one of them a new token. Deleting the
    entry would not do: whoever is building it at that moment would put it back.
    """

    def __init__(
        self, function: Any, *, timeout: Timeout, key: Any, tags: Any, hooks: Hooks
    ) -> None:
        self.function = checked_function(function)
        self.timeout = checked_timeout(timeout)
        self.name = f"{function.__module__}.{function.__qualname__}"
        self.arguments = Arguments(function, self.name, checked_key(key))
        self.hooks = hooks
        #: The tag of all calls.
        self.tag = f"(){self.name}"
        self._tags = checked_tags(tags)
        self._key = f"{LAYER}:{FORMAT}:{self.name}:{code_digest(function)}{_captured(function)}"

    def recipe(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recipe:
        """Where the value of this call is kept, for how long, and what it depends on in any case."""
        locale = active_locale() if self.arguments.key is None else ""
        call, identity = self.arguments.spell(args, kwargs)
        tenant = tenants.current()
        key = f"{self._key}:{locale}:{shorten(call)}{f'@{tenant}' if tenant else ''}"
        tags = (self.tag, self._call_tag(identity), *self._users_tags(args, kwargs))
        timeout = in_force(self.timeout)
        return Recipe(LAYER, key, SignedCodec(key), timeout, tags, size_of=size_of_plain)

    def call_tag(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """The tag of one call, in every language, whatever the version of the code."""
        return self._call_tag(self.arguments.spell(args, kwargs)[1])

    def _call_tag(self, identity: str) -> str:
        return f"{self.tag}({shorten(identity)})"

    def _users_tags(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[str]:
        tags = self._tags(*args, **kwargs) if callable(self._tags) else self._tags
        return self.hooks.name(tags) if tags else ()


def _captured(function: Any) -> str:
    """What tells apart two functions that one factory made: the constants that they closed over."""
    texts = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue  # not filled yet: it refers to what is just being defined
        if is_immutable(content):
            texts.append(canonical(content))
    return f".{shorten(''.join(texts))}" if texts else ""
