"""The arguments of a call as text: bound to the signature, with the defaults filled in."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django_layercache.exceptions import InvalidArgument, UnkeyableArgument
from django_layercache.serializers.keyable import canonical, identity

__all__ = ["Arguments"]

_POSITIONAL = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
}


class Arguments:
    """How calls of *function* are spelt: ``f(1)`` and ``f(a=1)`` alike.

    With *key*, a call is spelt as what ``key(*args, **kwargs)`` returns.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, key: Callable[..., Any] | None
    ) -> None:
        try:
            self.signature = inspect.signature(function)
        except (TypeError, ValueError) as error:
            raise InvalidArgument(
                f"{name}() has no signature that could be read, so its calls cannot be told "
                "apart. Wrap it in a function of yours."
            ) from error
        self.key = key
        self._name = name
        parameters = self.signature.parameters.values()
        self._names = [parameter.name for parameter in parameters]
        self._is_simple = all(parameter.kind in _POSITIONAL for parameter in parameters)

    def canonical(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The text of all that the call depends on."""
        return self._spell(canonical, args, kwargs)

    def identity(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The text of what identifies the call: a model instance counts as its row."""
        return self._spell(identity, args, kwargs)

    def _spell(
        self, spell: Callable[[Any], str], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> str:
        if self.key is not None:
            try:
                return spell(self.key(*args, **kwargs))
            except UnkeyableArgument as error:
                raise UnkeyableArgument(
                    f"{self._name}(): its key= returned {error}, which cannot be part of a key. "
                    "Let it return plain values, or a tuple of them."
                ) from None
        return "".join(
            [self._argument(spell, name, value) for name, value in self._bound(args, kwargs)]
        )

    def _argument(self, spell: Callable[[Any], str], name: str, value: Any) -> str:
        try:
            return spell(value)
        except UnkeyableArgument as error:
            raise UnkeyableArgument(
                f"{self._name}(): the argument {name!r} is {error}, which cannot be part of a key. "
                "Pass key= to @cached: a callable that takes the same arguments and returns "
                "what tells the calls apart."
            ) from None

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        if self._is_simple and not kwargs and len(args) == len(self._names):
            return zip(self._names, args, strict=True)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments.items()
