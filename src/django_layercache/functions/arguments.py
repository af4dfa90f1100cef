"""The arguments of a call as text: bound to the signature, with the defaults filled in."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django_layercache.exceptions import InvalidArgument, UnkeyableArgument
from django_layercache.serializers.keyable import canonical_and_identity

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

    def spell(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """All that the call depends on, and what identifies it: a model instance counts as its row."""
        if self.key is not None:
            return self._spell_key(self.key(*args, **kwargs))
        texts = [self._spell_argument(*item) for item in self._bound(args, kwargs)]
        return "".join([text for text, _ in texts]), "".join([text for _, text in texts])

    def _spell_key(self, value: Any) -> tuple[str, str]:
        try:
            return canonical_and_identity(value)
        except UnkeyableArgument as error:
            raise UnkeyableArgument(
                f"{self._name}(): its key= returned {error}, which cannot be part of a key. "
                "Let it return plain values, or a tuple of them."
            ) from None

    def _spell_argument(self, name: str, value: Any) -> tuple[str, str]:
        try:
            return canonical_and_identity(value)
        except UnkeyableArgument as error:
            raise UnkeyableArgument(
                f"{self._name}(): the argument {name!r} is {error}, which cannot be part of a key. "
                "Pass key= to @cached: a callable that takes the same arguments and returns "
                "what tells the calls apart."
            ) from None

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        if self._is_simple and not kwargs and len(args) == len(self._names):
            return zip(self._names, args, strict=True)
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}() {error}") from None
        bound.apply_defaults()
        return bound.arguments.items()
