"""What a statement does, as far as anybody can tell."""

from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["ANYTHING", "NOTHING", "Control", "Effect", "Tables"]

Control = Literal[
    "", "begin", "commit", "rollback", "prepare", "isolation", "snapshot", "savepoint", "release"
]
Tables = frozenset[str]
_NONE: Tables = frozenset()


@dataclass(frozen=True, slots=True)
class Effect:
    """The tables that a statement reads and changes, and what it does to the transaction.

    ``deletes`` are those of ``writes`` whose rows may go, so that the database may cascade.
    ``means_otherwise``: other statements may give other answers on this connection from now on;
    ``chooses_schema``: because of the schemas that tables are looked for in, and nothing else.
    ``chains``: the end of one transaction begins the next. ``names_isolation``: what it begins, or
    what comes after it, may read from a snapshot although others of the connection do not.
    ``may_end``: one of several statements may end the open transaction, and another one begin the
    next. ``calls``: the functions of which nobody knows what they do; but for them, ``own_reads`` and
    ``own_writes`` would be all. ``databases`` are made or dropped, whole, by these names.
    ``savepoint`` is the name of that which is made or released. ``columns`` are those that get other
    values, where that is all that it does to the one table of ``writes``.
    """

    reads: Tables | None = _NONE
    writes: Tables | None = _NONE
    deletes: Tables = _NONE
    control: Control = ""
    means_otherwise: bool = False
    chooses_schema: bool = False
    chains: bool = False
    names_isolation: bool = False
    may_end: bool = False
    calls: frozenset[str] = frozenset()
    own_reads: Tables | None = _NONE
    own_writes: Tables = _NONE
    databases: frozenset[str] = frozenset()
    savepoint: str = ""
    columns: frozenset[str] | None = None

    @property
    def changes_nothing(self) -> bool:
        return self.writes == _NONE

    def calling(self, functions: frozenset[str]) -> "Effect":
        """The same of a statement that also calls *functions*, of which nobody knows what they do."""
        if self.writes is None:
            return replace(self, calls=self.calls | functions) if self.calls else self
        return (
            replace(
                self,
                reads=None,
                writes=None,
                calls=functions,
                own_reads=self.reads,
                own_writes=self.writes,
            )
            if functions
            else self
        )


NOTHING = Effect()
ANYTHING = Effect(reads=None, writes=None)
