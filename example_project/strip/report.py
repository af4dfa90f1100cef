"""What the strip says: events and queries, counted and put into words. Pure: no request, no template."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from django_layercache import Event
from strip.words import TagGroup, changes, group_tags, key_in_words, shorten, without_digits

LAYERS = ("pages", "fragments", "functions", "querysets")
OUTCOMES = ("hit", "miss", "bypass")


@dataclass
class Queries:
    """The statements that reached a database, and the seconds that it took to answer them."""

    statements: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, sql: str, seconds: float) -> None:
        """Count one more."""
        self.statements.append(shorten(sql))
        self.seconds += seconds

    @property
    def count(self) -> int:
        """How many."""
        return len(self.statements)

    @property
    def milliseconds(self) -> float:
        """How long, all together."""
        return self.seconds * 1000


@dataclass(frozen=True)
class LayerSummary:
    """What one layer did in this request."""

    name: str
    counts: dict[str, int]
    milliseconds: float

    @property
    def outcome(self) -> str:
        """The worst that happened, for the colour: a bypass, else a miss, else a hit; `idle` if nothing did."""
        return next((outcome for outcome in reversed(OUTCOMES) if self.counts[outcome]), "idle")

    @property
    def words(self) -> str:
        """The counts in words: `2 hits, 1 miss`; for a single answer only what it was."""
        if sum(self.counts.values()) == 1:
            return self.outcome
        said = [f"{n} {_plural(outcome, n)}" for outcome, n in self.counts.items() if n]
        return ", ".join(said) or "not asked"


def _outcome(event: Event) -> str:
    """What is not stored cannot be hit next time either: to a visitor that is a bypass."""
    return "bypass" if event.reason.startswith("not stored") else event.outcome


def _plural(word: str, count: int) -> str:
    if count == 1:
        return word
    return word + ("s" if word == "hit" else "es")


@dataclass(frozen=True)
class Report:
    """All that happened in one request."""

    events: tuple[Event, ...]
    queries: Queries
    seconds: float

    @property
    def milliseconds(self) -> float:
        """How long the whole request took."""
        return self.seconds * 1000

    @cached_property
    def layers(self) -> list[LayerSummary]:
        """Each layer, the outermost first."""
        return [self._layer(name) for name in LAYERS]

    def _layer(self, name: str) -> LayerSummary:
        events = [event for event in self.events if event.layer == name]
        counts = {
            outcome: sum(_outcome(event) == outcome for event in events) for outcome in OUTCOMES
        }
        return LayerSummary(name, counts, sum(event.seconds for event in events) * 1000)

    @property
    def rows(self) -> list[dict[str, object]]:
        """The single events, the outermost first."""
        return [
            {
                "layer": event.layer,
                "key": key_in_words(event.key),
                "outcome": _outcome(event),
                "milliseconds": event.seconds * 1000,
                "tags": len(event.tags),
                "reason": without_digits(event.reason),
                "changes": changes(event.reason),
            }
            for event in reversed(self.events)
        ]

    @property
    def changes(self) -> list[str]:
        """What has changed since the outermost answer was stored, if it was rebuilt for that."""
        return changes(self.events[-1].reason) if self.events else []

    @cached_property
    def tags(self) -> list[str]:
        """Every tag that something on this page depends on."""
        return sorted({tag for event in self.events for tag in event.tags})

    @property
    def tag_groups(self) -> list[TagGroup]:
        """The tags in words: by table, then those named by hand."""
        return group_tags(self.tags)

    def server_timing(self) -> str:
        """The same for the network panel of the browser (W3C Server Timing)."""
        parts = [f"total;dur={self.milliseconds:.1f}", f"sql;dur={self.queries.milliseconds:.1f}"]
        parts += [
            f'{layer.name};dur={layer.milliseconds:.1f};desc="{layer.words}"'
            for layer in self.layers
            if layer.outcome != "idle"
        ]
        return ", ".join(parts)
