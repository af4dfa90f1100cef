"""A look at what get-or-build would do now: nothing is built, stored, counted or depended on."""

from collections.abc import Mapping
from typing import Any

from django_layercache.engine.attempts import IN_GRACE, MISS, Attempt
from django_layercache.engine.isolation import Isolation, objection
from django_layercache.engine.payloads import Payloads
from django_layercache.engine.recipes import Recipe
from django_layercache.stores.base import Reading, TokenState

__all__ = ["Peek"]


class Peek(Attempt):
    """An attempt of which nobody hears. ``tags`` are those of the entry, or of the recipe if there is none."""

    __slots__ = ("tags",)

    def __init__(self, recipe: Recipe, isolation: Isolation | None, payloads: Payloads) -> None:
        super().__init__(recipe, isolation, payloads)
        self._parent = None
        self.tags: tuple[str, ...] = recipe.tags

    def judge(self, reading: Reading) -> Any:
        """Say in ``outcome`` and ``reason`` what would happen."""
        if reading.entry is not None:
            self.tags = tuple(reading.entry.tokens)
            return self._use(reading.entry, reading)
        self.reason = reading.damage or "nothing is stored under its key"
        if reading.in_grace:
            self.reason += f"; {IN_GRACE}"
        why = objection(self.isolation, {tag: reading.states[tag] for tag in self.recipe.tags})
        if why is None and self.recipe.timeout == 0:
            why = "its timeout is 0"
        if why is not None:
            self.reason += f", and may not be now: {why}"
        return MISS

    def _report(self, tags: Mapping[str, TokenState]) -> None:
        pass
