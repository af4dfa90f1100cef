"""``manage.py layercache``: one namespace of a real server that others use, too."""

import json
from io import StringIO

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.test import override_settings

from django_layercache.decorators import cached
from django_layercache.engine import Engine, trace
from django_layercache.handlers import engines, get_engine, pool_of
from django_layercache.models import OutboxEntry
from django_layercache.stores.redis import RedisStore
from tests.engine.tools import Builder, recipe
from tests.services import free_port

with_databases = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def namespace(request, settings, redis_server):
    """The project's namespace, in a server that others use, too."""
    settings.LAYERCACHE = {"CACHE": "redis", "NAMESPACE": request.node.name, "GRACE": 0}
    yield request.node.name
    get_engine().store.reset()
    engines.reset()


@pytest.fixture
def away(settings):
    """A server that is not there."""
    location = f"redis://127.0.0.1:{free_port()}/0"
    settings.CACHES = {
        "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
    }
    settings.LAYERCACHE = {"CACHE": "redis", "GRACE": 0}
    yield
    engines.reset()


def run(*arguments):
    out = StringIO()
    call_command("layercache", *arguments, stdout=out)
    return out.getvalue()


def another_project(namespace, **options):
    return Engine(RedisStore(pool_of(caches["redis"]), namespace=namespace, grace=0.0, **options))


def calls_of(client):
    return {name: stats["calls"] for name, stats in client.info("commandstats").items()}


@with_databases
def test_clear_empties_the_namespace_and_no_other(namespace):
    mine, theirs = get_engine(), another_project(f"{namespace}-2")
    wanted = [recipe("with a tag", "a"), recipe("without any")]
    for engine in (mine, theirs):
        assert [engine.get_or_build(one, Builder("old")) for one in wanted] == ["old", "old"]
    assert namespace in run("clear")
    with trace() as events:
        assert [mine.get_or_build(one, Builder("new")) for one in wanted] == ["new", "new"]
    assert {event.reason for event in events} == {"the store was cleared, or has lost what it held"}
    assert [theirs.get_or_build(one, Builder("new")) for one in wanted] == ["old", "old"]
    theirs.store.reset()


def test_clear_takes_the_same_few_commands_however_much_there_is(redis_server):
    client, took = caches["redis"]._cache.get_client(), []
    project = another_project("clear")
    for entries in (1, 100):
        for number in range(entries):
            project.get_or_build(recipe(f"k{number}", "a"), Builder("x"))
        client.config_resetstat()
        project.store.reset()
        calls = calls_of(client)
        took.append(sum(calls.values()))
        assert not {
            f"cmdstat_{name}" for name in ("keys", "scan", "flushdb", "flushall", "del")
        } & set(calls)
    assert took[0] == took[1]


def test_two_projects_of_one_server_never_meet(redis_server):
    """Not even where one's namespace begins like another's, or holds what divides the parts of a key."""
    names = ["one", "one}:e:k", "one:", "", "*", "{one}"]
    projects = [another_project(name) for name in names]
    for name, project in zip(names, projects, strict=True):
        assert project.get_or_build(recipe("k", "a"), Builder(f"of {name}")) == f"of {name}"
    for project in projects:
        project.store.mark("w", ["a"], 30)
        others = [p for p in projects if p is not project]
        assert all(other.store.read(None, ["a"]).states["a"] for other in others)
        project.store.release("w", ["a"])
        project.store.reset()
    for name, project in zip(names, projects, strict=True):
        assert project.get_or_build(recipe("k", "a"), Builder(f"new {name}")) == f"new {name}"


@with_databases
def test_projects_that_differ_by_the_prefix_of_their_keys_never_meet(redis_server, settings):
    for name in ("one", "two", "one"):
        prefixed = {**settings.CACHES["redis"], "KEY_PREFIX": f"prefix-{name}"}
        with override_settings(
            CACHES={"redis": prefixed}, LAYERCACHE={"CACHE": "redis", "GRACE": 0}
        ):
            built = get_engine().get_or_build(recipe("k", "a"), Builder(f"of {name}"))
            assert built == f"of {name}"
            assert (
                json.loads(run("status", "--json", "--database=default"))["namespace"]
                == f"prefix-{name}"
            )


@with_databases
def test_drain_tells_the_store_what_is_in_the_outbox(namespace):
    calls = []

    @cached(tags=["weather"])
    def weather():
        calls.append(1)
        return len(calls)

    assert [weather(), weather()] == [1, 1]
    OutboxEntry.objects.create(tags=json.dumps(["#weather"]))
    assert "1 commit was" in run("drain", "--database", "default")
    assert not OutboxEntry.objects.exists()
    assert weather() == 2


@with_databases
def test_status_tells_how_the_store_and_the_outbox_are(namespace):
    OutboxEntry.objects.using("other").create(tags="not in JSON")  # which nobody can drain
    facts = json.loads(run("status", "--json", "--database", "default", "--database", "other"))
    assert facts["store"] == "RedisStore"
    assert facts["namespace"] == namespace
    assert (facts["reachable"], facts["promise"]) == (True, "exact")
    assert facts["generation"] == get_engine().store.read(None, ()).sequence[:8]
    assert {alias: found["commits"] for alias, found in facts["outbox"].items()} == {
        "default": 0,
        "other": 1,
    }
    text = run("status", "--database", "default")
    assert "reachable   yes" in text
    assert "outbox      default: 0 commits\n" in text
    OutboxEntry.objects.using("other").all().delete()


@with_databases
def test_a_store_that_is_away_is_an_error_with_a_code_of_its_own(away):
    for arguments in (
        ("clear",),
        ("drain", "--database=default"),
        ("status", "--database=default"),
    ):
        with pytest.raises(CommandError, match=r"The store is away: .*refused") as raised:
            run(*arguments)
        assert raised.value.returncode == 3


@with_databases
def test_what_could_not_be_drained_stays_in_the_outbox(away):
    OutboxEntry.objects.create(tags=json.dumps(["#weather"]))
    with pytest.raises(CommandError):
        run("drain", "--database", "default")
    assert OutboxEntry.objects.filter(tags='["#weather"]').exists()


@pytest.mark.parametrize("action", ("clear", "drain"))
def test_the_store_of_this_process_alone_is_an_error(action):
    with pytest.raises(CommandError, match="`local`"):
        run(action)


@with_databases
def test_the_store_of_this_process_alone_has_a_status():
    assert json.loads(run("status", "--json", "--database", "default"))["store"] == "LocalStore"


@pytest.mark.parametrize("arguments", ((), ("empty",), ("clear", "--database", "default")))
def test_what_is_no_command_is_an_error(arguments):
    with pytest.raises(CommandError):
        run(*arguments)
