"""``manage.py layercache clear | drain | status``: the store of the project, by hand."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from django_layercache.handlers import get_engine, namespace_in_force
from django_layercache.management.common import AWAY, ask_store, plain_errors, refuse_local
from django_layercache.management.status import facts_about, in_thread, in_words
from django_layercache.querysets.outbox import DatabaseOutbox

__all__ = ["Command"]


class Command(BaseCommand):
    help = "Clears the cache, drains the outbox, or tells how the store is."
    requires_system_checks = ["layercache"]

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
        with plain_errors():
            getattr(self, f"_{action}")(**options)

    def _clear(self, **options: Any) -> None:
        refuse_local()
        ask_store()
        get_engine().store.reset()
        namespace = namespace_in_force()
        which = f"the namespace {namespace!r}" if namespace else "the empty namespace"
        self.stdout.write(f"Cleared: nothing of {which} will be used again.")

    def _drain(self, database: list[str] | None, **options: Any) -> None:
        refuse_local()
        outbox = DatabaseOutbox(database)
        before = in_thread(outbox.waiting)  # a new engine begins to drain at once
        if not any(before.values()):
            raise CommandError("There is no outbox: run 'manage.py migrate'.")
        ask_store()  # nothing is taken out of which nobody can be told
        store = get_engine().store

        def tell(tags: Iterable[str]) -> None:
            if tags := list(tags):
                store.release("drain", tags)

        in_thread(lambda: outbox.look(tell))
        commits = sum(waiting.commits for waiting in before.values() if waiting is not None)
        were = "1 commit was" if commits == 1 else f"{commits} commits were"
        self.stdout.write(f"Drained: {were} in the outbox.")

    def _status(self, database: list[str] | None, *, as_json: bool, **options: Any) -> None:
        facts = facts_about(database)
        self.stdout.write(json.dumps(facts) if as_json else "\n".join(in_words(facts)))
        if not facts["reachable"]:
            raise CommandError(f"The store is away: {facts['error']}", returncode=AWAY)
        for alias, found in facts["outbox"].items():
            if found is not None and "error" in found:
                raise CommandError(f"The outbox of {alias!r} cannot be read: {found['error']}")
