"""Timeouts: how many seconds a value may be answered from the store. The same for every layer."""

import math
from enum import Enum
from typing import Any, Final, Literal

from django_layercache import conf
from django_layercache.exceptions import InvalidArgument

__all__ = ["DEFAULT", "Timeout", "checked_timeout", "in_force"]


class _Default(Enum):
    DEFAULT = "LAYERCACHE['TIMEOUT']"

    def __repr__(self) -> str:
        return str(self.value)


#: The timeout of the settings, whatever it is at the moment.
DEFAULT: Final = _Default.DEFAULT

#: Seconds; ``None`` for ever; 0 not at all.
Timeout = float | None | Literal[_Default.DEFAULT]


def checked_timeout(value: Any) -> Timeout:
    """*value* if it is a timeout, else :exc:`~django_layercache.exceptions.InvalidArgument`."""
    if value is None or value is DEFAULT:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(
            f"A timeout is a number of seconds, or None for no expiry; not {value!r}."
        )
    if value < 0 or not math.isfinite(value):
        raise InvalidArgument(
            f"A timeout of {value!r} seconds makes no sense. 0 stores nothing, None never expires."
        )
    return value


def in_force(timeout: Timeout) -> float | None:
    """The seconds that *timeout* stands for now."""
    return conf.get("TIMEOUT") if timeout is DEFAULT else timeout
