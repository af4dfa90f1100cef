"""The protocol: tags, tokens, scopes, get-or-build, mark, commit, release. No settings, no ORM, no HTTP."""

from django_layercache.engine.coroutines import Engine
from django_layercache.engine.events import Event, Outcome, trace
from django_layercache.engine.graces import OpenTransactions
from django_layercache.engine.isolation import Isolation, is_not_after
from django_layercache.engine.looks import Outbox
from django_layercache.engine.recipes import Codec, Recipe
from django_layercache.engine.scopes import (
    current_scope,
    nothing_cached,
    open_scope,
    recording_scope,
    without_cache,
)
from django_layercache.engine.writes import Write

__all__ = [
    "Codec",
    "Engine",
    "Event",
    "Isolation",
    "OpenTransactions",
    "Outbox",
    "Outcome",
    "Recipe",
    "Write",
    "current_scope",
    "is_not_after",
    "nothing_cached",
    "open_scope",
    "recording_scope",
    "trace",
    "without_cache",
]
