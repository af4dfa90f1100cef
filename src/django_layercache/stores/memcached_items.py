"""The items of the `memcached` store: their keys, their bytes, and what these mean.

All begin with the prefix of the namespace. On the first server of the pool:

``head``
    The generation, the name of its register, from when on the server is trusted, and the
    server's identity.
``q:<generation>``
    The position of the sequence: a number that is counted up. There is one for each generation,
    so one that was lost cannot begin again: the next generation does.
``r:<register>``
    All live marks a second time, as lines that are only ever appended, until somebody tidies
    them up: who placed which marks until when (``+``), who took which away (``-``). A register
    that was lost cannot begin again either.
``t:<tag>``
    A tag: its token (``=``), or the marks on it (``!``).

On the server that its key falls to:

``e:<key>``
    An entry, as in every shared store, or a manifest: a digest, which the pieces carry in their keys.
``c:<digest>:<number>``
    A piece of an entry that is too large for one item.

Times are seconds of the server's clock.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from django_layercache.stores.base import Token

__all__ = [
    "MANIFEST",
    "Head",
    "Keys",
    "Marks",
    "Register",
    "is_live",
    "manifest",
    "pack_marks",
    "pack_token",
    "short",
    "unpack_marks",
    "unpack_token",
]

_MAX_KEY = 250
MANIFEST = b"L1/"

#: Who has marks, each with the time at which its lease is over.
Marks = dict[str, float]


def _digest(text: str, size: int) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=size).hexdigest()


def short(tag: str) -> str:
    """*tag* in the register. Two that fall together are pending together, which is safe."""
    return _digest(tag, 8)


def is_live(marks: Mapping[str, float], now: float) -> bool:
    """Whether any of *marks* has a lease that is not over."""
    return any(expiry > now for expiry in marks.values())


class Keys:
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        fits = namespace.isascii() and namespace.isprintable() and " " not in namespace
        shown = namespace if fits and len(namespace) <= 64 else "#" + _digest(namespace, 16)
        self.prefix = f"layercache:1:{{{shown}}}:"
        self.head = f"{self.prefix}head".encode()

    def tag(self, tag: str) -> bytes:
        return self._named("t", tag)

    def entry(self, key: str) -> bytes:
        return self._named("e", key)

    def sequence(self, head: "Head") -> bytes:
        return f"{self.prefix}q:{head.generation}".encode()

    def register(self, head: "Head") -> bytes:
        return f"{self.prefix}r:{head.register}".encode()

    def pieces(self, manifest: bytes) -> list[bytes]:
        """The keys of what *manifest* stands for; none if it is not one."""
        digest, _, count = manifest[len(MANIFEST) :].partition(b"/")
        if len(digest) != 32 or not digest.isalnum() or not count.isdigit() or len(count) > 4:
            return []
        head = self.prefix.encode()
        return [b"%bc:%b:%d" % (head, digest, number) for number in range(int(count))]

    def _named(self, kind: str, name: str) -> bytes:
        # Memcached takes 250 bytes without white space and control characters. What does not fit is
        # hashed, under another letter; an entry has its key in it besides.
        if name.isascii() and name.isprintable() and " " not in name:
            key = f"{self.prefix}{kind}:{name}".encode()
            if len(key) <= _MAX_KEY:
                return key
        return f"{self.prefix}{kind.upper()}:{_digest(name, 16)}".encode()


def manifest(data: bytes, count: int) -> bytes:
    """What stands for *data*, which is kept in *count* pieces."""
    return MANIFEST + blake2b(data, digest_size=16).hexdigest().encode() + b"/%d" % count


class Head(NamedTuple):
    """``trusted_from`` is 0 once the grace is over, ``None`` before anybody has counted it."""

    generation: str
    register: str
    trusted_from: float | None
    identity: str

    def pack(self) -> bytes:
        trusted = "?" if self.trusted_from is None else f"{self.trusted_from:.3f}"
        return f"{self.generation} {self.register} {trusted} {self.identity}".encode()

    @classmethod
    def unpack(cls, data: bytes) -> "Head | None":
        """The head in *data*, or ``None`` if it is none."""
        try:
            generation, register, trusted, identity = data.decode("ascii").split(" ")
            trusted_from = None if trusted == "?" else float(trusted)
        except ValueError:
            return None
        # NaN is not equal to itself.
        if not _is_name(generation) or not _is_name(register) or trusted_from != trusted_from:  # noqa: PLR0124
            return None
        return cls(generation, register, trusted_from, identity)

    def position(self, sequence: int) -> Token:
        return f"{self.generation}{sequence:016d}"


def _is_name(text: str) -> bool:
    return len(text) == 8 and text.isalnum()


# -- tags ----------------------------------------------------------------------------------


def pack_token(token: Token) -> bytes:
    """A settled tag."""
    return b"=" + token.encode()


def pack_marks(marks: Mapping[str, float]) -> bytes:
    """A pending tag; without *marks* one that is as good as missing."""
    parts = [f"{writer} {expiry:.3f}" for writer, expiry in marks.items()]
    return ("!" + " ".join(parts)).encode()


def unpack_token(data: bytes, head: Head) -> Token | None:
    """The token in *data*, if it is one of the generation of *head*."""
    if len(data) != 25 or not data.startswith(b"=" + head.generation.encode()):
        return None
    return data[1:].decode("latin-1") if data[9:].isdigit() else None


def unpack_marks(data: bytes) -> Marks:
    """The marks in *data*; none if it is anything else."""
    return _marks(data[1:].decode("utf-8", "replace")) if data.startswith(b"!") else {}


def _marks(text: str) -> Marks:
    parts = text.split(" ")
    try:
        return dict(zip(parts[::2], map(float, parts[1::2]), strict=False))
    except ValueError:
        return {}


# -- the register --------------------------------------------------------------------------


class Register:
    """The live marks of a namespace, by the short names of their tags."""

    def __init__(self, data: bytes) -> None:
        self._marks: dict[str, Marks] = {}
        for line in data.decode("utf-8", "replace").split("\n"):
            if line.startswith("+"):
                self._place(line[1:])
            elif line.startswith("-"):
                self._take(line[1:])

    def _place(self, line: str) -> None:
        writer, _, rest = line.partition(" ")
        expiry, *names = rest.split(" ")
        if _is_number(expiry):
            for name in names:
                self._marks.setdefault(name, {})[writer] = float(expiry)

    def _take(self, line: str) -> None:
        writer, *names = line.split(" ")
        for name in names:
            self._marks.get(name, {}).pop(writer, None)

    def marks(self, tag: str) -> Marks:
        """Who has a mark on *tag*."""
        return self._marks.get(short(tag), {})

    def tidied(self, now: float) -> bytes:
        """The bytes of a register that says the same, of the marks that are live."""
        lines: dict[tuple[str, float], list[str]] = {}
        for name, marks in self._marks.items():
            for mark in marks.items():
                if mark[1] > now:
                    lines.setdefault(mark, []).append(name)
        return b"".join([_line(*mark, names) for mark, names in lines.items()])

    @staticmethod
    def placed(writer: str, expiry: float, tags: Iterable[str]) -> bytes:
        """A line: *writer* has placed marks on *tags*."""
        return _line(writer, expiry, map(short, tags))

    @staticmethod
    def taken(writer: str, tags: Iterable[str]) -> bytes:
        """A line: *writer* has taken its marks on *tags* away."""
        return f"-{writer} {' '.join(map(short, tags))}\n".encode()


def _line(writer: str, expiry: float, names: Iterable[str]) -> bytes:
    return f"+{writer} {expiry:.3f} {' '.join(names)}\n".encode()


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False
