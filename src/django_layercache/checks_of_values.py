"""What the checks of settings have in common."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error

__all__ = ["check_timeout", "did_you_mean", "is_number", "no_dictionary", "one_of"]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """A hint for one who wrote *name* where only *names* are known."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Choose {one_of(names)}."


def one_of(names: Iterable[str]) -> str:
    """*names* as a choice between them."""
    *others, last = sorted(map(repr, names))
    return f"{', '.join(others)} or {last}" if others else last


def no_dictionary(value: Any, where: str, hint: str, check_id: str) -> CheckMessage:
    """The *value* that stands at *where* in the settings should be a dictionary."""
    return Error(f"{where} is a {type(value).__name__}, not a dictionary.", hint=hint, id=check_id)


def is_number(value: Any) -> bool:
    """Whether *value* is a number, and not one in name only."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124


def check_timeout(value: Any, where: str) -> Iterator[CheckMessage]:
    """The *value* that stands at *where* in the settings."""
    if value is not None and not (is_number(value) and value >= 0):
        yield Error(
            f"{where} is {value!r}.",
            hint="It is a number of seconds, 0 or more, or None for ever.",
            id="layercache.E003",
        )
