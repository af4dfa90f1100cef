"""``manage.py layercache clear | drain | status``: the store of the project, by hand."""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from django_layercache import conf
from django_layercache.engine import Engine
from django_layercache.exceptions import LayerCacheError, StoreUnavailable
from django_layercache.handlers import get_engine, namespace_in_force
from django_layercache.querysets.outbox import DatabaseOutbox

__all__ = ["Command"]

#: Exit code where the store does not answer. (1 is that of every other error.)
AWAY = 2

T = TypeVar("T")


class Command(BaseCommand):
    help = "Clears the cache, drains the outbox, or tells how the store is."
    # None of them is about models; and a store that is away is to be found out by `status`.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="clear|drain|status")
        actions.add_parser("clear", help="Make all that is cached in the namespace unreachable.")
        drain = actions.add_parser("drain", help="Tell the store what is in the outbox.")
        status = actions.add_parser("status", help="Tell how the store and the outbox are.")
        status.add_argument("--json", action="store_true", dest="as_json", help="In JSON.")
        for action in (drain, status):
            action.add_argument(
                "--database",
                action="append",
                choices=list(connections),
                help="The outbox of this database only. May be given several times.",
            )

    def handle(self, *, action: str, **options: Any) -> None:
        try:
            getattr(self, f"_{action}")(**options)
        except StoreUnavailable as error:
            raise CommandError(f"The store is away: {error}", returncode=AWAY) from error
        except LayerCacheError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The outbox cannot be used: {error}") from error

    def _clear(self, **options: Any) -> None:
        _refuse_local()
        get_engine().store.reset()
        namespace = namespace_in_force()
        self.stdout.write(f"Cleared: nothing of the namespace {namespace!r} will be used again.")

    def _drain(self, database: list[str] | None, **options: Any) -> None:
        _refuse_local()
        outbox = DatabaseOutbox(database)
        before = _in_thread(outbox.sizes)  # a new engine begins to drain at once
        store = get_engine().store
        store.read(None, ())  # nothing is taken out of which nobody can be told

        def tell(tags: Iterable[str]) -> None:
            if tags := list(tags):
                store.release("drain", tags)

        _in_thread(lambda: outbox.look(tell))
        commits = sum(size or 0 for size in before.values())
        self.stdout.write(f"Drained: {commits} commits were in the outbox.")

    def _status(self, database: list[str] | None, *, as_json: bool, **options: Any) -> None:
        facts = _facts(get_engine())
        facts["outbox"] = _in_thread(DatabaseOutbox(database).sizes)
        if as_json:
            self.stdout.write(json.dumps(facts))
        else:
            for name, value in facts.items():
                self.stdout.write(f"{name:<11} {_readable(value)}")
        if not facts["reachable"]:
            raise CommandError(f"The store is away: {facts['error']}", returncode=AWAY)


def _refuse_local() -> None:
    if conf.get("CACHE") is None:
        raise CommandError(
            "The store is `local`: each process has one of its own, and this process ends now. "
            "Set LAYERCACHE['CACHE'] to the alias of a cache that the processes share."
        )


def _facts(engine: Engine) -> dict[str, Any]:
    store = engine.store
    facts: dict[str, Any] = {
        "cache": conf.get("CACHE"),
        "namespace": namespace_in_force(),
        "store": type(getattr(store, "shared", store)).__name__,
        "promise": "exact" if store.exact else "bounded",
        "enabled": engine.enabled,
        "in debt": engine.outages.in_debt,
        "reachable": True,
    }
    try:
        reading = store.read(None, ())
    except StoreUnavailable as error:
        return {**facts, "reachable": False, "error": str(error)}
    generation, position = reading.sequence[:8], reading.sequence[8:].lstrip("0")
    return {**facts, "generation": generation, "sequence": position, "in grace": reading.in_grace}


def _readable(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{alias}: {'no table' if size is None else size}" for alias, size in value.items()
        )
    return str(value)


def _in_thread(call: Callable[[], T]) -> T:
    # It closes its connections when it is done; the caller may be in the middle of something.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()
