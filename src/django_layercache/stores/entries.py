"""The bytes of an entry in a shared store.

``L1``, the length of the header in eight hexadecimal digits, the header (a JSON array: the
key, then each tag with its token), the payload. The key is in it so that an entry which was
copied to, or hashed onto, another key is not taken for that key's. ``tests/stores/golden``
pins the bytes.
"""

import json
from json.encoder import encode_basestring_ascii as quoted

from django_layercache.exceptions import Undecodable
from django_layercache.stores.base import Entry

__all__ = ["FORMAT", "pack", "unpack"]

FORMAT = b"L1"
_PREFIX = len(FORMAT) + 8


def pack(key: str, entry: Entry) -> bytes:
    """The bytes of *entry* under *key*."""
    parts = [quoted(key)]
    for tag, token in entry.tokens.items():
        parts.append(quoted(tag))
        parts.append(quoted(token))
    header = ("[" + ",".join(parts) + "]").encode()
    return b"%b%08x%b%b" % (FORMAT, len(header), header, entry.payload)


def unpack(key: str, data: bytes) -> Entry:
    """The entry in *data*, or :exc:`Undecodable` for anything that :func:`pack` did not make of *key*."""
    try:
        end = _PREFIX + int(data[len(FORMAT) : _PREFIX], 16)
        header = json.loads(data[_PREFIX:end])
        tags, tokens = header[1::2], header[2::2]
    except (ValueError, TypeError, RecursionError, KeyError) as error:
        raise Undecodable("not an entry") from error
    if not data.startswith(FORMAT) or type(header) is not list or header[:1] != [key]:
        raise Undecodable("an entry of another format or of another key")
    if len(tags) != len(tokens) or not all(type(part) is str for part in header):
        raise Undecodable("an entry with a damaged header")
    # A tag that is there twice would shift the states, which the store reports in this order.
    if len(set(tags)) != len(tags):
        raise Undecodable("an entry with a damaged header")
    return Entry(dict(zip(tags, tokens, strict=True)), data[end:])
