"""The near tier's level `pushed`, on a real server: what is heard, and what is not used while nothing can be heard."""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from django_layercache.exceptions import StoreUnavailable
from django_layercache.stores import near_pushed
from django_layercache.stores.base import PENDING, Entry
from django_layercache.stores.redis import RedisStore
from tests.services import RedisServer
from tests.stores import test_wires
from tests.stores.clocks import RedisClock
from tests.stores.near_tools import Tier, is_known, until

LEASE = 30.0

tls_server = test_wires.tls_server


def on(pool: redis.ConnectionPool, namespace: str = "pushed") -> Tier:
    return Tier(lambda: RedisStore(pool, namespace=namespace, grace=0))


@pytest.fixture
def tier(redis_clock: RedisClock) -> Iterator[Tier]:
    namespace = redis_clock.prefix.split("{")[1].split("}")[0]
    made = on(redis_clock.client.connection_pool, namespace)
    yield made
    made.close()


@pytest.fixture
def own(fresh_redis: RedisServer) -> Iterator[Tier]:
    made = on(redis.ConnectionPool(host=fresh_redis.host, port=fresh_redis.port))
    yield made
    made.close()


# -- what is heard -----------------------------------------------------------------------------


def test_what_was_read_once_is_not_asked_for_again(tier: Tier) -> None:
    tier.learn("a", "b")
    entry = Entry({tag: tier.near.read(None, [tag]).states[tag] or "" for tag in "ab"}, b"x")
    tier.near.write("k", entry, 60)
    before = tier.asked
    for _ in range(5):
        assert tier.near.read("k", ["b"]).entry == entry
        assert tier.near.read("k", ["b"]).slot is not None
    assert tier.asked == before


def test_a_mark_of_somebody_else_is_heard_and_so_is_what_comes_after_it(tier: Tier) -> None:
    tier.learn("a", "b")
    before = tier.near.read(None, ["a", "b"]).states
    tier.other.mark("w", ["a"], LEASE)
    until(lambda: not is_known(tier.known, "a"))
    assert tier.near.read(None, ["a"]).states == {"a": PENDING}
    assert not tier.knows("a")
    assert tier.knows("b")
    tier.other.release("w", ["a"])
    until(lambda: tier.near.read(None, ["a"]).states["a"] not in {PENDING, before["a"]})
    tier.learn("a")


@pytest.mark.parametrize("name", ("\udcff m:ä", "generation", "", "a:b"))
def test_tags_of_any_name_are_heard_of(tier: Tier, name: str) -> None:
    tier.learn(name)
    tier.other.release("w", [name])
    until(lambda: not is_known(tier.known, name))


def test_what_this_process_changes_is_known_at_once(tier: Tier) -> None:
    for _ in range(20):
        tier.learn("a")
        tier.near.mark("w", ["a"], LEASE)
        assert tier.near.read(None, ["a"]).states == {"a": PENDING}
        tier.near.release("w", ["a"])
        assert tier.near.read(None, ["a"]).states["a"] is not PENDING


def _reset(tier: Tier, client: redis.Redis) -> None:
    tier.other.reset()


def _reset_here(tier: Tier, client: redis.Redis) -> None:
    tier.near.reset()


def _lose_register(tier: Tier, client: redis.Redis) -> None:
    client.delete(tier.shared._register)
    tier.other.read(None, ["b"])  # who comes next begins a generation


def _lose_everything(tier: Tier, client: redis.Redis) -> None:
    client.flushall()


def _lose_token(tier: Tier, client: redis.Redis) -> None:
    client.delete(f"{tier.shared._prefix}t:a")


def _let_token_expire(tier: Tier, client: redis.Redis) -> None:
    client.pexpire(f"{tier.shared._prefix}t:a", 1)


@pytest.mark.parametrize(
    "lose",
    (_reset, _reset_here, _lose_register, _lose_everything, _lose_token, _let_token_expire),
)
def test_whatever_ends_a_token_is_heard(own: Tier, fresh_redis: RedisServer, lose: Any) -> None:
    own.learn("a")
    before = own.near.read(None, ["a"]).states["a"]
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as client:
        lose(own, client)
    until(lambda: own.near.read(None, ["a"]).states["a"] != before)
    own.learn("a")


# -- what is learned ---------------------------------------------------------------------------


def between_answer_and_learning(tier: Tier, happens: Callable[[], None]) -> None:
    tier.learn("a", "b")  # so that they have tokens
    tier.known.clear()
    fetch = tier.near._fetch

    def late(wanted: Any) -> Any:
        tier.near._fetch = fetch  # type: ignore[method-assign]
        answer = fetch(wanted)
        happens()
        return answer

    tier.near._fetch = late  # type: ignore[method-assign]
    tier.near.read(None, ["a", "b"])


def test_an_answer_that_a_push_has_overtaken_teaches_nothing_about_its_tag(tier: Tier) -> None:
    def change() -> None:
        count = tier.known._count
        tier.other.release("w", ["a"])
        until(lambda: tier.known.tokens() is not None and tier.known._count > count)

    between_answer_and_learning(tier, change)
    assert not is_known(tier.known, "a")
    assert is_known(tier.known, "b")


def test_nor_does_one_that_more_changes_have_overtaken_than_are_remembered(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_pushed, "MOST_CHANGES", 3)
    between_answer_and_learning(tier, lambda: tier.known.forget(["a", "x", "y", "z"]))
    assert not is_known(tier.known, "a")
    tier.learn("a")


def test_nor_one_that_comes_after_the_connection_was_lost(tier: Tier) -> None:
    def lose() -> None:
        with tier.known._lock:
            tier.known._drop()
        until(lambda: tier.known.tokens() is not None)

    between_answer_and_learning(tier, lose)
    assert not is_known(tier.known, "a")


def test_more_tokens_than_are_remembered_are_asked_for(
    tier: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_pushed, "MOST_TOKENS", 3)
    tier.learn("a", "b", "c")
    tier.learn("d")
    assert not is_known(tier.known, "a")
    assert is_known(tier.known, "c")


# -- when nothing can be heard -----------------------------------------------------------------


def test_a_lost_connection_empties_the_tier_until_there_is_another(
    own: Tier, fresh_redis: RedisServer
) -> None:
    own.learn("a")
    link = own.link()
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as client:
        for one in client.client_list():
            if "t" in one["flags"]:  # it tracks
                client.client_kill_filter(one["id"])
    until(lambda: own.link() is not link)
    own.learn("a")


def test_a_server_that_is_gone_is_asked_and_not_remembered(
    own: Tier, fresh_redis: RedisServer
) -> None:
    own.learn("a")
    fresh_redis.kill()
    with pytest.raises(StoreUnavailable):
        until(lambda: own.near.read(None, ["a"]) is None)
    fresh_redis.start()
    until(lambda: _answers(own))
    own.learn("a")


def _answers(tier: Tier) -> bool:
    try:
        tier.near.read(None, ["a"])
    except StoreUnavailable:
        return False
    return True


def test_a_server_that_says_nothing_is_trusted_no_longer_than_the_bound(
    own: Tier, fresh_redis: RedisServer
) -> None:
    own.learn("a")
    own.known._bound = 0.5
    with fresh_redis.paused():
        stopped = time.monotonic()
        until(lambda: own.known.tokens() is None)
        # What was said before it was paused counts for so long, and not as long as anybody likes.
        assert time.monotonic() - stopped < 5
        assert own.known.tokens() is None
    until(lambda: own.known.tokens() is not None)
    own.learn("a")


def test_a_process_that_was_paused_hears_first(own: Tier) -> None:
    own.learn("a")
    asleep = 0.0
    own.known._clock = lambda: near_pushed._Clock.now() + asleep
    own.known._pause = 60  # nothing is heard meanwhile, as nothing is sent
    until(lambda: own.link() is not None and own.link().sent is None)
    time.sleep(0.05)
    asleep = 100.0
    assert own.known.tokens() is None


def test_a_connection_on_which_its_own_pulse_is_not_heard_is_given_up(own: Tier) -> None:
    """It is to a server that is not the primary any more, say; it may answer for ever."""
    own.learn("a")
    own.known._bound = 0.3
    link, beat = own.link(), own.shared.beat
    own.shared.beat = lambda beat: None  # type: ignore[method-assign]
    until(lambda: own.known.tokens() is None)
    until(lambda: own.link() is not link)
    own.shared.beat = beat  # type: ignore[method-assign]
    own.known._bound = 5.0
    own.learn("a")


def test_a_beat_confirms_itself_and_no_other(own: Tier) -> None:
    own.learn("a")
    own.known._pause = 60
    until(lambda: own.link() is not None and own.link().sent is None)
    before = own.link().confirmed
    own.link().sent = "another", before + 1000
    own.shared.beat(f"{own.known._pulse}.0")
    own.near.read(None, ["b"])
    until(lambda: is_known(own.known, "b") or own.knows("b"))
    assert own.link().confirmed == before


def test_it_is_told_of_by_tls_too(tls_server: test_wires.TlsServer) -> None:
    tier = on(tls_server.pool(ssl_ca_certs=str(tls_server.certificate.path)))
    tier.learn("a", "b")
    tier.other.release("w", ["a"])
    until(lambda: not is_known(tier.known, "a"))
    tier.close()


def test_a_child_asks_for_itself(tier: Tier) -> None:
    tier.learn("a")
    link = tier.link()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            tier.known._store = RedisStore(
                redis.ConnectionPool(**tier.shared.client.connection_pool.connection_kwargs),
                namespace="child",
            )
            inherited = tier.link() is None and not is_known(tier.known, "a")
            tier.learn("a")
            status = 0 if inherited and tier.link() is not link else 2
        finally:
            os.write(theirs, b"done")
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    os.close(ours), os.close(theirs)
    assert tier.link() is link
    assert tier.knows("a")
    tier.other.release("w", ["a"])
    until(lambda: not is_known(tier.known, "a"))


def test_where_the_server_may_not_push_it_is_asked(
    own: Tier, fresh_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(host=fresh_redis.host, port=fresh_redis.port) as client:
        client.execute_command("ACL", "SETUSER", "default", "-client|tracking")
    for _ in range(3):
        assert own.near.read(None, ["a"]).states["a"]
        until(lambda: caplog.records)
    time.sleep(0.1)
    assert not own.knows("a")
    assert [record.name for record in caplog.records] == ["django_layercache.stores"]


def test_a_closed_tier_gives_its_connection_back_and_can_be_used_again(
    own: Tier, fresh_redis: RedisServer
) -> None:
    own.learn("a")
    own.near.close()
    assert own.link() is None
    assert not is_known(own.known, "a")
    own.learn("a")


def test_a_process_that_reads_nothing_gives_it_back_too(
    own: Tier, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.learn("a")
    monkeypatch.setattr(near_pushed, "IDLE", 0.0)
    until(lambda: own.link() is None)
    monkeypatch.undo()
    own.learn("a")
