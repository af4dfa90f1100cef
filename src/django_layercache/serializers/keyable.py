"""Values as parts of keys: typed, framed text, the same in every process.

Typed: ``1``, ``True``, ``1.0`` and ``"1"`` differ. Framed: no two different values, or sequences of
values, are spelt alike. Whatever is not known to be sayable in full is refused, because a key
that leaves something out shows one value for another.
"""

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Field, Model
from django.utils.functional import LazyObject, Promise, empty
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from django_layercache.exceptions import UnkeyableArgument
from django_layercache.serializers.code import code_digest

__all__ = [
    "active_locale",
    "canonical",
    "canonical_and_identity",
    "identity",
    "is_immutable",
    "shorten",
]

#: Longer texts are digested: a key is to be readable, not long.
READABLE = 120


def canonical(value: Any) -> str:
    """The text of *value*; two values have the same one only if nobody can tell them apart.

    A model instance counts with all that it has loaded: its fields, annotations, and related
    objects. A value that was computed from them is then never shown for others.

    Raises :exc:`~django_layercache.exceptions.UnkeyableArgument`.
    """
    return _text(value, _Speller(with_content=True))


def canonical_and_identity(value: Any) -> tuple[str, str]:
    """Both at once; they differ only where there is a model instance."""
    speller = _Speller(with_content=True)
    text = _text(value, speller)
    return text, identity(value) if speller.has_met_instance else text


def identity(value: Any) -> str:
    """:func:`canonical`, but a model instance counts as its row, whatever it has loaded."""
    return _text(value, _Speller(with_content=False))


def shorten(text: str) -> str:
    """*text*, or a digest of it if it is long or not printable."""
    if len(text) <= READABLE and text.isascii() and text.isprintable():
        return text
    return "~" + hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def active_locale() -> str:
    """The active language and time zone, where the project has them, as Django's page keys do."""
    language = get_language() if settings.USE_I18N else ""
    zone = get_current_timezone_name() if settings.USE_TZ else ""
    return f"{language or ''},{zone}"


def is_immutable(value: Any) -> bool:
    """Whether *value* can be spelt, and will be spelt the same for ever."""
    if isinstance(value, tuple | frozenset):
        return all(is_immutable(item) for item in value)
    return isinstance(value, Enum | type | FunctionType) or type(value) in _IMMUTABLE


def _text(value: Any, speller: "_Speller") -> str:
    try:
        return speller.spell(value)
    except RecursionError:
        raise UnkeyableArgument(
            f"an instance of {_path(type(value))} that contains itself"
        ) from None


class _Speller:
    """Spells one value. It remembers the model instances that it is in, for they may refer to each other."""

    __slots__ = ("_open", "_with_content", "has_met_instance")

    def __init__(self, *, with_content: bool) -> None:
        self._with_content = with_content
        self._open: set[int] = set()
        self.has_met_instance = False

    def spell(self, value: Any) -> str:
        kind = type(value)
        base = kind if kind in _SPELLINGS else _base(kind)  # type: ignore[arg-type]
        if base is None:
            return self._other(value)
        text = _SPELLINGS[base](self, value)
        if base is kind:
            return text
        if getattr(value, "__dict__", None):
            raise _refusal(value)  # it knows more than its base does
        return f"~{_framed(_path(kind))}{text}"

    def all(self, values: Iterable[Any]) -> str:
        return "".join([self.spell(value) for value in values])

    # -- containers -----------------------------------------------------------------------

    def of_tuple(self, value: tuple[Any, ...]) -> str:
        return f"({self.all(value)})"

    def of_list(self, value: list[Any]) -> str:
        return f"[{self.all(value)}]"

    def of_set(self, value: set[Any] | frozenset[Any]) -> str:
        return f"{{{''.join(sorted(self.spell(item) for item in value))}}}"

    def of_frozenset(self, value: frozenset[Any]) -> str:
        return f"z{self.of_set(value)}"

    def of_dict(self, value: dict[Any, Any]) -> str:
        # In any order: two dictionaries that are equal are the same argument.
        items = [self.spell(key) + self.spell(item) for key, item in value.items()]
        return f"<{''.join(items if isinstance(value, OrderedDict) else sorted(items))}>"

    # -- what is named rather than said ---------------------------------------------------

    def _other(self, value: Any) -> str:
        if issubclass(type(value), LazyObject):  # isinstance() would ask what it wraps, too
            return self.spell(_unwrapped(value))
        if isinstance(value, Promise):
            # What it says now, in the language of now.
            return f"p{self.spell(str(value))}{self.spell(get_language())}"
        if isinstance(value, Enum):
            return f"e{_framed(_path(type(value)))}{self.spell(value.name or value.value)}"
        if isinstance(value, Model):
            return self._instance(value)
        return self._code(value)

    def _code(self, value: Any) -> str:
        if isinstance(value, type):
            return f"c{_framed(_path(value))}"
        if isinstance(value, MethodType):
            return f"M{self.spell(value.__func__)}{self.spell(value.__self__)}"
        if isinstance(value, FunctionType):
            return f"l{_framed(_path(value))}{self.all(_captured(value))}{code_digest(value)}"
        if isinstance(value, BuiltinFunctionType) and inspect.ismodule(value.__self__):
            return f"l{_framed(_path(value))}"
        if _path(type(value)) == "django.contrib.auth.models.AnonymousUser":
            return "a"
        raise _refusal(value)

    # -- model instances ------------------------------------------------------------------

    def _instance(self, value: Model) -> str:
        self.has_met_instance = True
        if value.pk is None or value._state.adding:
            raise UnkeyableArgument(f"an unsaved {value._meta.label}")
        meta = value._meta
        if not self._with_content and meta.concrete_model is not None:
            meta = meta.concrete_model._meta
        row = f"{_framed(meta.label)}{self.spell(value._state.db)}{self.spell(value.pk)}"
        if not self._with_content or id(value) in self._open:
            return f"m{row};"
        self._open.add(id(value))
        try:
            return f"m{row}{self._content(value)};"
        finally:
            self._open.discard(id(value))

    def _content(self, value: Model) -> str:
        loaded = value.__dict__
        fields = {field.attname: field for field in value._meta.concrete_fields}
        texts = [
            _framed(name) + self._field(field, loaded[name])
            for name, field in fields.items()
            if name in loaded
        ]
        texts += [self._extra(name, loaded[name]) for name in sorted(loaded.keys() - fields.keys())]
        related = value._state.fields_cache
        texts += [self._extra(name, related[name]) for name in sorted(related)]
        return "".join(texts)

    def _field(self, field: "Field[Any, Any]", value: Any) -> str:
        """What the field holds, else what the database would get, else what a fixture would say."""
        try:
            return self.spell(value)
        except UnkeyableArgument:
            pass
        try:
            return self.spell(field.get_prep_value(value))
        except UnkeyableArgument:
            return f"f{_framed(str(value))}"

    def _extra(self, name: str, value: Any) -> str:
        """An annotation, a related object, prefetched ones, or something that was kept beside them."""
        if name == "_state":
            return ""
        if name == "_prefetched_objects_cache":
            return "".join(
                _framed(related) + self.of_list(list(value[related])) for related in sorted(value)
            )
        try:
            return _framed(name) + self.spell(value)
        except UnkeyableArgument:
            return ""  # no database put it there


def _date(_: _Speller, value: date) -> str:
    return f"d{value.isoformat()};"


def _datetime(_: _Speller, value: datetime) -> str:
    return f"D{value.isoformat()},{value.fold}{_zone(value)};"


def _time(_: _Speller, value: time) -> str:
    return f"h{value.isoformat()},{value.fold}{_zone(value)};"


def _zone(value: datetime | time) -> str:
    zone = value.tzinfo
    if zone is None:
        return ""
    name = str(zone) if isinstance(zone, timezone | ZoneInfo) else value.tzname()
    return _framed(f"{_path(type(zone))} {name}")


def _int(_: _Speller, value: int) -> str:
    # Python refuses to write very long numbers in decimal.
    return f"i{value:d};" if value.bit_length() < 64 else f"i{value:#x};"


_SPELLINGS: dict[type, Callable[[_Speller, Any], str]] = {
    NoneType: lambda _, value: "N",
    bool: lambda _, value: "T" if value else "F",
    int: _int,
    float: lambda _, value: f"f{float.__repr__(value)};",
    str: lambda _, value: _framed(str.__str__(value), "s"),
    bytes: lambda _, value: f"b{value.hex()};",
    Decimal: lambda _, value: f"n{Decimal.__str__(value)};",
    UUID: lambda _, value: f"u{value.hex};",
    date: _date,
    datetime: _datetime,
    time: _time,
    timedelta: lambda _, value: f"t{value.days},{value.seconds},{value.microseconds};",
    tuple: _Speller.of_tuple,
    list: _Speller.of_list,
    set: _Speller.of_set,
    frozenset: _Speller.of_frozenset,
    dict: _Speller.of_dict,
}

_IMMUTABLE = frozenset(_SPELLINGS) - {list, set, dict}


@lru_cache(maxsize=1024)
def _base(kind: type) -> type | None:
    """The type in the list to which *kind* adds nothing but a name."""
    if issubclass(kind, Enum):
        return None
    for ancestor in kind.__mro__:
        if ancestor in _SPELLINGS:
            return ancestor
        if ancestor.__dict__.get("__slots__"):
            return None
    return None


def _captured(function: FunctionType) -> list[Any]:
    """What a closure has captured, as far as that cannot change."""
    values = []
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue  # not filled yet
        if is_immutable(content) and not isinstance(content, FunctionType):
            values.append(content)
    return values


def _unwrapped(value: Any) -> Any:
    if value._wrapped is empty:
        value._setup()
    return value._wrapped


def _framed(text: str, code: str = "") -> str:
    return f"{code}{len(text)}:{text}"


def _path(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}"


def _refusal(value: Any) -> UnkeyableArgument:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _path(kind)
    return UnkeyableArgument(f"an instance of {name}")
