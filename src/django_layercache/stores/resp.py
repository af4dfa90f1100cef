"""The words that Redis and its clients exchange (RESP2 and RESP3): commands packed, replies unpacked.

By ``hiredis`` where it is installed, which takes a third of the time.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

try:
    import hiredis
except ImportError:  # pragma: no cover - the tests call both by name
    hiredis = None

__all__ = ["INCOMPLETE", "Garbled", "PlainReader", "Reader", "Refusal", "new_reader", "packed"]


class Refusal(Exception):
    """The server's answer to a command that it does not carry out. Returned, not raised."""


class Garbled(ConnectionError):
    """What came is no reply: whatever comes after it on this connection cannot be understood."""


class Push(list[Any]):
    """Something that the server says unasked."""


INCOMPLETE: Final = object()


class Reader(Protocol):
    """Takes bytes as they come, and gives replies."""

    def feed(self, data: Any, offset: int = 0, length: int = -1, /) -> None: ...

    def gets(self) -> Any:
        """The next reply, or ``INCOMPLETE``."""
        ...


def packed(*command: bytes | str | int) -> bytes:
    """The bytes of *command*. Keys and tags may hold whatever a visitor sends, half a surrogate pair included."""
    try:
        return _pack(command)
    except UnicodeEncodeError:
        return _pack(tuple(map(_encoded, command)))


def _encoded(part: bytes | str | int) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")


def plain_pack(command: tuple[bytes | str | int, ...]) -> bytes:
    """``hiredis.pack_command``, in Python."""
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        data = _encoded(part)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


_pack: Callable[[tuple[bytes | str | int, ...]], bytes]
_pack = plain_pack if hiredis is None else hiredis.pack_command


def new_reader() -> Reader:
    """A reader for one connection."""
    if hiredis is None:
        return PlainReader()
    reader: Reader = hiredis.Reader(
        replyError=Refusal, protocolError=Garbled, notEnoughData=INCOMPLETE
    )
    return reader


def is_push(reply: Any) -> bool:
    """Whether *reply* is no reply, but something that the server says unasked."""
    return isinstance(reply, _PUSHES)


_PUSHES = (Push,) if hiredis is None else (Push, hiredis.PushNotification)


class _Short(Exception):
    """The reply goes on in bytes that are not there yet."""


class PlainReader:
    """``hiredis.Reader``, in Python."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: Any, offset: int = 0, length: int = -1, /) -> None:
        self._data += data[offset:] if length < 0 else data[offset : offset + length]

    def gets(self) -> Any:
        try:
            reply, end = self._reply(0)
        except _Short:
            return INCOMPLETE
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Garbled("the server's reply is not RESP") from error
        del self._data[:end]
        return reply

    def _reply(self, at: int) -> tuple[Any, int]:
        end = self._data.find(b"\r\n", at)
        if end < 0:
            raise _Short
        kind, text = chr(self._data[at]), bytes(self._data[at + 1 : end])
        at = end + 2
        if kind in _SIMPLE:
            return _SIMPLE[kind](text), at
        size = int(text)
        if size < 0:
            return None, at
        if kind in _BULKS:
            return self._bulk(kind, at, size)
        return self._items(kind, at, size)

    def _bulk(self, kind: str, at: int, size: int) -> tuple[Any, int]:
        end = at + size
        if len(self._data) < end + 2:
            raise _Short
        return _BULKS[kind](bytes(self._data[at:end])), end + 2

    def _items(self, kind: str, at: int, size: int) -> tuple[Any, int]:
        items = []
        for _ in range(size * _ITEMS[kind]):
            item, at = self._reply(at)
            items.append(item)
        if kind == "%":
            return dict(zip(items[::2], items[1::2], strict=True)), at
        return (Push(items) if kind == ">" else items), at


def _refusal(text: bytes) -> Refusal:
    return Refusal(text.decode("utf-8", "replace"))


_SIMPLE: dict[str, Callable[[bytes], Any]] = {
    "+": bytes,
    "-": _refusal,
    ":": int,
    "_": lambda text: None,
    "#": lambda text: text == b"t",
    ",": float,
    "(": int,
}
_BULKS: dict[str, Callable[[bytes], Any]] = {
    "$": bytes,
    "=": lambda data: data[4:],  # after "txt:"
}
_ITEMS = {"*": 1, "~": 1, ">": 1, "%": 2}
