"""What is built depends on everything that was read while it was built, however it was read."""

import asyncio
import contextvars
import threading
from collections.abc import Callable

import pytest

from django_layercache.engine import Engine, current_scope, open_scope, trace
from django_layercache.engine.scopes import Scope
from tests.engine.tools import Builder, FailingStore, change, recipe


def tags_of(store: FailingStore, key: str) -> set[str]:
    return set(store._entries.slots[key].entry.tokens)


def test_a_page_depends_on_what_it_reads(engine: Engine, store: FailingStore) -> None:
    def build() -> str:
        engine.observe(["a"])
        return engine.record(["b"], lambda: "b")

    engine.get_or_build(recipe("page", "c"), build)
    assert tags_of(store, "page") == {"a", "b", "c"}


@pytest.mark.parametrize("warm", (False, True))
def test_a_page_depends_on_what_its_fragments_depend_on(
    engine: Engine, store: FailingStore, warm: bool
) -> None:
    def inner() -> str:
        return engine.get_or_build(recipe("inner", "a"), lambda: engine.record(["b"], lambda: "x"))

    def middle() -> str:
        return engine.get_or_build(recipe("middle", "c"), inner)

    if warm:
        middle()
    with trace() as events:
        engine.get_or_build(recipe("page"), middle)
    assert [event.key for event in events] == (
        ["middle", "page"] if warm else ["inner", "middle", "page"]
    )
    assert tags_of(store, "page") == {"a", "b", "c"}


def test_a_fragment_does_not_depend_on_what_is_read_around_it(
    engine: Engine, store: FailingStore
) -> None:
    def page() -> str:
        engine.observe(["a"])
        engine.get_or_build(recipe("inner", "b"), Builder())
        engine.observe(["c"])
        return "page"

    engine.get_or_build(recipe("page"), page)
    assert tags_of(store, "inner") == {"b"}
    assert tags_of(store, "page") == {"a", "b", "c"}


def test_a_page_that_swallows_the_error_of_a_fragment_depends_on_what_it_read(
    engine: Engine, store: FailingStore
) -> None:
    def inner() -> str:
        engine.observe(["a"])
        raise LookupError

    def page() -> str:
        with pytest.raises(LookupError):
            engine.get_or_build(recipe("inner", "b"), inner)
        return "without"

    engine.get_or_build(recipe("page"), page)
    assert tags_of(store, "page") == {"a", "b"}


def test_the_scope_around_is_the_current_one_again_after_an_error(engine: Engine) -> None:
    with open_scope(Scope()) as scope:
        with pytest.raises(LookupError):
            engine.get_or_build(recipe(), Builder(LookupError()))
        assert current_scope() is scope
    assert current_scope() is None


def test_a_page_around_something_pending_is_not_stored(engine: Engine, store: FailingStore) -> None:
    def page() -> str:
        return engine.get_or_build(recipe("inner", "a"), Builder())

    change(engine, "a", during=lambda: engine.get_or_build(recipe("page"), page))
    assert not store._entries.slots


def test_a_page_around_something_that_is_never_stored_is_stored_itself(
    engine: Engine, store: FailingStore
) -> None:
    def page() -> str:
        return engine.get_or_build(recipe("inner", "a", timeout=0), Builder())

    engine.get_or_build(recipe("page"), page)
    assert list(store._entries.slots) == ["page"]
    assert tags_of(store, "page") == {"a"}


def test_a_write_while_a_page_is_built_leaves_it_under_old_tokens(engine: Engine) -> None:
    def page() -> str:
        engine.observe(["a"])
        change(engine, "a")
        engine.observe(["a"])
        return "old"

    engine.get_or_build(recipe("page"), page)
    assert engine.get_or_build(recipe("page"), Builder("new")) == "new"


def test_a_tag_is_fetched_once_in_a_scope(engine: Engine, store: FailingStore) -> None:
    def page() -> str:
        for _ in range(5):
            engine.observe(["a", "b"])
        return "x"

    engine.get_or_build(recipe("page"), page)
    assert store.asked == ["read", "read", "write"]


def test_outside_of_a_scope_nothing_is_fetched(engine: Engine, store: FailingStore) -> None:
    assert engine.record(["a"], lambda: "x") == "x"
    engine.observe(["a"])
    assert store.asked == []


def test_what_tasks_of_a_gather_read_belongs_to_the_scope_they_were_started_in(
    engine: Engine, store: FailingStore
) -> None:
    async def part(tag: str) -> str:
        await asyncio.sleep(0)
        await engine.aobserve([tag])
        return await engine.aget_or_build(
            recipe(f"part {tag}", f"{tag}2"), Builder().asynchronously
        )

    async def page() -> str:
        return " ".join(await asyncio.gather(part("a"), part("b"), part("c")))

    asyncio.run(engine.aget_or_build(recipe("page"), page))
    assert tags_of(store, "page") == {"a", "a2", "b", "b2", "c", "c2"}
    assert tags_of(store, "part a") == {"a2"}


def test_pages_that_are_built_at_once_do_not_mix(engine: Engine, store: FailingStore) -> None:
    async def page(tag: str) -> str:
        for _ in range(3):
            await asyncio.sleep(0)
            await engine.aobserve([tag])
        return tag

    async def both() -> None:
        await asyncio.gather(
            *(engine.aget_or_build(recipe(tag), lambda tag=tag: page(tag)) for tag in "abc")
        )

    asyncio.run(both())
    assert {tag: tags_of(store, tag) for tag in "abc"} == {"a": {"a"}, "b": {"b"}, "c": {"c"}}


def test_what_is_read_in_a_thread_of_asyncio_belongs_to_the_scope(
    engine: Engine, store: FailingStore
) -> None:
    async def page() -> str:
        await asyncio.to_thread(engine.observe, ["a"])
        return "x"

    asyncio.run(engine.aget_or_build(recipe("page"), page))
    assert tags_of(store, "page") == {"a"}


@pytest.mark.parametrize("follow", (False, True))
def test_a_thread_of_ones_own_is_followed_in_a_copy_of_the_context_only(
    engine: Engine, store: FailingStore, follow: bool
) -> None:
    def in_a_thread(work: Callable[[], None]) -> None:
        target = contextvars.copy_context().run if follow else (lambda work: work())
        thread = threading.Thread(target=target, args=(work,))
        thread.start()
        thread.join()

    def page() -> str:
        in_a_thread(lambda: engine.observe(["a"]))
        return "x"

    engine.get_or_build(recipe("page"), page)
    assert tags_of(store, "page") == ({"a"} if follow else set())
