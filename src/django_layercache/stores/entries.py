"""The bytes of an entry in a shared store.

In this order:

- ``L2``;
- a digest of the key, so that an entry which was copied to, or hashed onto, another key is not
  taken for that key's;
- the generation: all tokens of an entry that can be a hit are of one;
- the length of the names, in four bytes, little-endian;
- the names of the tags, sorted: for each of them how many bytes it has in common with the one
  before, the rest of it, and ``0xff`` (which no UTF-8 has);
- for each tag the sixteen digits of its token's position, two of them in a byte;
- the payload.

The read script of the `redis` store takes the names out of it, too (``_lua.py``).
``tests/stores/golden`` pins the bytes.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from django_layercache.exceptions import Undecodable
from django_layercache.stores.base import Entry, Token

__all__ = ["FORMAT", "pack", "unpack"]

FORMAT = b"L2"
_HEAD = struct.Struct("<2s8s8sI")
_END = b"\xff"
#: A name says in one byte what it has in common, and that byte must not be the end of a name.
_MOST_SHARED = 254
#: What no token ends with.
_NEVER = bytes(8)


def pack(key: str, entry: Entry) -> bytes:
    """The bytes of *entry* under *key*."""
    tags = sorted(entry.tokens)
    generation = entry.generation or (entry.tokens[tags[0]][:8] if tags else "")
    names = b"".join(_shortened(tags))
    head = _HEAD.pack(FORMAT, _digest(key), generation.encode("latin-1", "replace"), len(names))
    positions = [_position(entry.tokens[tag], generation) for tag in tags]
    return b"".join([head, names, *positions, entry.payload])


def unpack(key: str, data: bytes) -> Entry:
    """The entry in *data*, or :exc:`Undecodable` for anything that :func:`pack` did not make of *key*."""
    if not data.startswith(FORMAT):
        raise Undecodable("an entry of another format")
    try:
        _, digest, generation, length = _HEAD.unpack_from(data)
        names = data[_HEAD.size : _HEAD.size + length]
        tags = _tags(names) if length < 256 else _restored(names)
    except (ValueError, IndexError, struct.error) as error:
        raise Undecodable("an entry with a damaged header") from error
    if digest != _digest(key):
        raise Undecodable("an entry of another key")
    end = _HEAD.size + length + 8 * len(tags)
    if len(data) < end:
        raise Undecodable("an entry that was cut off")
    prefix, digits = generation.decode("latin-1"), data[_HEAD.size + length : end].hex()
    tokens = {tag: prefix + digits[16 * n : 16 * n + 16] for n, tag in enumerate(tags)}
    return Entry(tokens, data[end:], prefix)


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _shortened(tags: Iterable[str]) -> Iterator[bytes]:
    before = b""
    for tag in tags:
        name = tag.encode("utf-8", "surrogatepass")
        shared = _shared(before, name)
        yield b"%c%b%b" % (shared, name[shared:], _END)
        before = name


def _shared(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    most = min(len(one), len(other), _MOST_SHARED)
    differences = int.from_bytes(one[:most]) ^ int.from_bytes(other[:most])
    return most - (differences.bit_length() + 7) // 8


def _restored(names: bytes) -> list[str]:
    *parts, rest = names.split(_END)
    if rest:
        raise ValueError("the last name has no end")
    tags, name = [], b""
    for part in parts:
        name = name[: part[0]] + part[1:]
        tags.append(name.decode("utf-8", "surrogatepass"))
    # A tag that is there twice would shift the states, which the store reports in this order.
    if len(set(tags)) != len(tags):
        raise ValueError("a name is there twice")
    return tags


#: Few names come often.
_tags = lru_cache(maxsize=1024)(_restored)


def _position(token: Token, generation: str) -> bytes:
    # A token of another generation is not current any more, and never will be again.
    try:
        position = bytes.fromhex(token[8:])
    except ValueError:
        return _NEVER
    return position if len(position) == 8 and token.startswith(generation) else _NEVER
