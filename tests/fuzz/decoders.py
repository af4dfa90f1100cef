"""Everything that reads bytes from a cache server, with samples of what it reads.

Used with Hypothesis by the tests beside it, and with atheris by ``scripts/fuzz.py``.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django_layercache.exceptions import Undecodable
from django_layercache.pages.variants import decoded_headers, encoded_headers
from django_layercache.serializers.compression import compressed, decompressed
from django_layercache.serializers.pages import Page, dump_page, load_page
from django_layercache.serializers.rows import RowsCodec
from django_layercache.serializers.signed import SignedCodec
from django_layercache.serializers.text import TextCodec
from django_layercache.stores.base import Entry
from django_layercache.stores.entries import pack, unpack

LIMIT = 1024 * 1024


class Decoder(NamedTuple):
    """``decode`` may raise `Undecodable`, and nothing else."""

    decode: Callable[[bytes], Any]
    samples: tuple[bytes, ...]


ROW = (
    *(7, 2**70, -1.5, True, None, "text \0", "ä😀", b"\0\xff", memoryview(b"m"), [1, [date.min]]),
    *(date(2026, 1, 2), time(3, 4), timedelta(-1, 2, 3), Decimal("1.50"), UUID(int=5), {"a": 1}),
    *(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin"))),
)
NUMBERS = (1, 2**40, True, 0.5, b"\0")
ROWS = (
    *([], [ROW], [ROW, ROW[::-1]], [ROW] * 3, [(1, "a", None), (2, None, 1.5)], [(1,), (2,)]),
    *([ROW] * 9, [ROW, ROW[::-1]] * 4, [(1, "a" * 200, None), (2, None, 1.5)] * 4),
    *([NUMBERS], [NUMBERS] * 3, [([1, 2], ["a"], [[]]), (None, [], [[0.5]])] * 4),
)
TOKENS = {
    "89abcdef:": "0123456700000000000000001",
    "89abcdef:post#pk=5": "012345670000000000000002",
}
PAGE = Page(200, "OK", "utf-8", [("Vary", "Cookie")], b"<p>Hi</p>" * 50, {"COOKIE": "x"}, 5)

DECODERS = {
    "entries": Decoder(
        lambda data: unpack("k", data),
        (pack("k", Entry(TOKENS, b"payload")), pack("k", Entry({}, b"", "01234567"))),
    ),
    "rows": Decoder(RowsCodec.loads, tuple(map(RowsCodec.dumps, ROWS))),
    "pages": Decoder(load_page, (dump_page(PAGE),)),
    "texts": Decoder(TextCodec().loads, (TextCodec().dumps("<p>ä</p>"),)),
    "signed objects": Decoder(
        SignedCodec("k").loads, (SignedCodec("k").dumps({"a": [1, PAGE.headers]}),)
    ),
    "compressed": Decoder(
        lambda data: decompressed(data, LIMIT), (compressed(dump_page(PAGE)), b"Z1\5\0\0\0x")
    ),
    "hints": Decoder(decoded_headers, (encoded_headers(["Cookie", "Accept-Language"]),)),
}


class CodeRan(BaseException):
    """Decoding did what bytes must not make it do."""


# Not `import`: the name of a charset, or of a range, brings in a module of those that may have one.
_FORBIDDEN = ("os.", "subprocess.", "pickle.", "ctypes.", "shutil.")
_watched: list[bool] = []


def _on_event(event: str, args: Any) -> None:
    if _watched and event.startswith(_FORBIDDEN) and event not in {"os.listdir", "os.scandir"}:
        raise CodeRan(event, args)


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """Nothing in the block unpickles, touches files, or starts a process."""
    if not hasattr(sys, "_layercache_fuzz"):
        sys.addaudithook(_on_event)  # it cannot be taken away again
        sys._layercache_fuzz = True
    _watched.append(True)
    try:
        yield
    finally:
        _watched.clear()


def decode_safely(decoder: Decoder, data: bytes) -> Any:
    """What *data* is, or `Undecodable`; whatever else comes out of it is a bug."""
    try:
        with nothing_runs():
            return decoder.decode(data)
    except Undecodable:
        return Undecodable
