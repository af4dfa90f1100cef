"""What the processes of a mix do."""

from collections.abc import Sequence
from dataclasses import replace

from tests.engine.places import Place, Process, Program, Question

# -- questions -----------------------------------------------------------------------------


def about(*tags: str, key: str = "") -> Question:
    """One query that is cached: its tags are known beforehand."""
    return Question(
        key=key or "+".join(tags),
        build=lambda place: place.select(*tags),
        truth=lambda database: tuple(database[tag] for tag in tags),
        tags=tags,
    )


def recording(*tags: str, key: str = "page") -> Question:
    """Something in which each tag is read by a query of its own that is not cached by itself."""
    return Question(
        key=key,
        build=lambda place: tuple(part for tag in tags for part in place.read_recording(tag)),
        truth=lambda database: tuple(database[tag] for tag in tags),
    )


def page_over(inner: Question, *tags: str, key: str = "page") -> Question:
    """A page that contains *inner*, cached for itself, and then reads *tags*."""

    def build(place: Place) -> tuple[str, ...]:
        value = place.get(inner)
        return (*value, *(part for tag in tags for part in place.read_recording(tag)))

    return Question(
        key, build, lambda database: (*inner.truth(database), *(database[tag] for tag in tags))
    )


def found_or_not() -> Question:
    """A row that depends on itself, "a", if it is there, and on any row of the table, "b", if it is not."""
    return Question(
        key="row",
        build=lambda place: place.select("a"),
        truth=lambda database: (database["a"],),
        tags=("a", "b"),
        settle=lambda value: ["a"] if value[0] else ["b"],
    )


def _row_behind(value: tuple[str, ...]) -> dict[str, list[str]]:
    return {"rows": ["c" if value[0] else "b"]}


def _joined(a: str, b: str, c: str) -> tuple[str, str]:
    return (a, c if a else b)


def behind_a_key(key: str = "joined") -> Question:
    """A row "a" that refers to the row "b", and once it has been changed to "c"; both are among "rows"."""
    return Question(
        key=key,
        build=lambda place: _joined(*place.select("a", "b", "c")),
        truth=lambda database: _joined(database["a"], database["b"], database["c"]),
        tags=("a", "rows"),
        late=_row_behind,
        grows=False,
    )


def page_of_what_is_behind_a_key() -> Question:
    """The same, read by a query that is not cached by itself."""
    return replace(
        behind_a_key("page"),
        build=lambda place: place.engine.record(
            ("a", "rows"), lambda: _joined(*place.select("a", "b", "c")), late=_row_behind
        ),
        tags=(),
        late=None,
    )


class Broken(Exception):
    """A fragment could not be built."""


def page_without_its_broken_fragment() -> Question:
    """A page that does without its fragment as long as that fails, which it does until "a" has been changed."""

    def build_fragment(place: Place) -> tuple[str, ...]:
        value = place.read_recording("a")
        if not value[0]:
            raise Broken
        return value

    def build(place: Place) -> tuple[str, ...]:
        try:
            return place.get(Question("fragment", build_fragment, truth))
        except Broken:
            return ("",)

    def truth(database: dict[str, str]) -> tuple[str, ...]:
        return (database["a"],)

    return Question("page", build, truth)


def within(question: Question, outer: str, inner: str) -> Question:
    """*question* under the key *outer*, built by asking it under the key *inner*."""
    return replace(question, key=outer, build=lambda place: place.get(replace(question, key=inner)))


def page_before(inner: Question, *tags: str, key: str = "page") -> Question:
    """A page that reads *tags*, and then shows *inner*."""

    def build(place: Place) -> tuple[str, ...]:
        value = tuple(part for tag in tags for part in place.read_recording(tag))
        return (*value, *place.get(inner))

    return Question(
        key, build, lambda database: (*(database[tag] for tag in tags), *inner.truth(database))
    )


# -- programs ------------------------------------------------------------------------------


def ask(question: Question) -> Program:
    return lambda place: place.get(question) and None


def ask_many(*questions: Question) -> Program:
    return lambda place: place.get_many(*questions) and None


def refresh(question: Question) -> Program:
    return lambda place: place.refresh(question)


def begin_snapshot(place: Place) -> None:
    place.begin_snapshot()


def in_snapshot(question: Question) -> Program:
    def program(place: Place) -> None:
        place.join_snapshot(place.carried)
        place.get(question)

    return program


def change(
    name: str,
    *tags: str,
    then_ask: Question | None = None,
    savepoint: Sequence[str] = (),
    rolls_back: bool = False,
    cut_off: bool = False,
) -> Program:
    """A transaction of *name* that changes *tags*, and *savepoint* in a savepoint that is rolled back.

    *then_ask* is asked inside it, after the changes. It may end with a ROLLBACK, or be *cut_off* while it commits.
    """

    def program(place: Place) -> None:
        write = place.engine.new_write()
        write.touch(tags)
        place.transaction.dirty.update(dict.fromkeys(tags, name))
        if savepoint:
            write.touch(savepoint)
            place.mutations.on_savepoint_rollback(write)
        if then_ask is not None:
            place.get(then_ask)
        if rolls_back:
            write.forget()
            return
        finish = place.mutations.finish_cut_off if cut_off else place.mutations.finish
        finish(place, write, name, tags)

    return program


def reader(name: str, *questions: Question, times: int = 2) -> Process:
    """Asks everything, *times* over: what it stored it can hit."""
    return Process(name, (tuple(ask(question) for _ in range(times) for question in questions),))


def snapshot_reader(name: str, *questions: Question) -> Process:
    return Process(name, ((begin_snapshot, *(in_snapshot(question) for question in questions)),))


def writer(name: str, *tags: str, **options: object) -> Process:
    return Process(name, ((change(name, *tags, **options),),))


__all__ = [
    "about",
    "ask",
    "ask_many",
    "begin_snapshot",
    "behind_a_key",
    "change",
    "found_or_not",
    "in_snapshot",
    "page_before",
    "page_of_what_is_behind_a_key",
    "page_over",
    "page_without_its_broken_fragment",
    "reader",
    "recording",
    "refresh",
    "snapshot_reader",
    "within",
    "writer",
]
