"""A digest of what a function does, the same in every process that runs the same code.

Neither the source text is used (it is not always there, and a comment would change it) nor
``marshal`` (its bytes depend on reference counts), but the parts of the code object that decide
what it does. Line numbers are not among them.
"""

import hashlib
import inspect
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

import django

__all__ = ["code_digest"]


def code_digest(function: Any) -> str:
    """Sixteen hexadecimal digits that change with the code of *function* and of what it wraps.

    They change with Python and Django too: what another version computed, or pickled, is not
    to be trusted to be the same.
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{sys.version_info[:2]} {django.VERSION[:2]}".encode())
    for part in _parts_of_chain(function):
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _parts_of_chain(function: Any) -> Iterator[bytes]:
    seen: set[int] = set()
    while function is not None and id(function) not in seen:
        seen.add(id(function))
        if inspect.ismethod(function):
            function = function.__func__
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield from _parts(code)
        function = getattr(function, "__wrapped__", None)


def _parts(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield repr(
        (
            code.co_names,
            code.co_varnames,
            code.co_freevars,
            code.co_cellvars,
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags,
        )
    ).encode()
    for constant in code.co_consts:
        yield from _constant(constant)


def _constant(value: Any) -> Iterator[bytes]:
    if isinstance(value, CodeType):
        yield from _parts(value)
    elif isinstance(value, frozenset):
        # Its order differs from process to process.
        yield b"frozenset"
        yield from sorted(b" ".join(_constant(item)) for item in value)
    elif isinstance(value, tuple):
        yield b"tuple %d" % len(value)
        for item in value:
            yield from _constant(item)
    else:
        yield f"{type(value).__name__} {value!r}".encode(errors="surrogatepass")
