"""Late tags: known only after the read, such as the row behind a foreign key.

A late tag may take the place of a more general one if its token, fetched after the read, is not
pending and was drawn at or before S0, the position of the sequence before the read: then nothing
was committed under it in between. A tag that nobody had asked for yet is minted now, after S0,
so it has to wait for the next time.
"""

from collections.abc import Iterable, Mapping, Sequence

from django_layercache.engine.isolation import is_not_after
from django_layercache.stores.base import Token, TokenState

__all__ = ["Late", "all_late", "narrowed"]

#: For a general tag, the late ones that may take its place.
Late = Mapping[str, Sequence[str]]


def all_late(general: Iterable[str], late: Late) -> list[str]:
    """The tags to fetch, if *general* are those of the value."""
    return sorted({tag for one in general for tag in late.get(one, ())})


def narrowed(
    states: Mapping[str, TokenState],
    late: Late,
    late_states: Mapping[str, TokenState],
    sequence: Token,
) -> dict[str, TokenState]:
    """*states* with late tags in place of the general ones wherever all of them may."""
    result: dict[str, TokenState] = {}
    for tag, state in states.items():
        replacement = late.get(tag)
        if replacement is not None and all(
            _held_since(sequence, late_states[one]) for one in replacement
        ):
            result.update((one, late_states[one]) for one in replacement)
        else:
            result[tag] = state
    return result


def _held_since(sequence: Token, state: TokenState) -> bool:
    return state is not None and is_not_after(state, sequence)  # None: pending
