"""`manage.py demo`: fill the site, measure its layers, edit things, and leave it running."""

from __future__ import annotations

import signal
import socket
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.test.utils import override_settings
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from atlas.importing import invented, load
from atlas.management.commands.import_atlas import import_with_progress
from atlas.models import Member
from showcase import tables, timings
from showcase.edits import all_edits
from showcase.experiments import Bench, Result
from showcase.probes import all_probes, new_client
from showcase.subjects import NothingToShow, Subjects

PORTS_TO_TRY = 20


class Command(BaseCommand):
    """Shows the library at work on a real site."""

    help = "Fill the example site, measure its cache layers, show what edits rebuild, and leave it running."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--no-server", action="store_true", help="end instead of leaving the server running"
        )
        parser.add_argument(
            "--port", type=int, default=8000, help="where to serve; the next free one is taken"
        )
        parser.add_argument("--runs", type=int, default=5, help="how often each thing is measured")

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _interrupt)  # an edit is undone then, as after ctrl-C
        console = Console(file=self.stdout._out)
        try:
            self._show(console, max(1, options["runs"]))
            if not options["no_server"]:
                _serve(console, options["port"])
        except KeyboardInterrupt:
            console.print("\nInterrupted. Whatever was begun is undone; run it again at any time.")
            sys.exit(130)

    def _show(self, console: Console, runs: int) -> None:
        _fill(console)
        try:
            subjects = Subjects.choose()
        except NothingToShow as nothing:
            raise CommandError(str(nothing)) from None
        # With DEBUG on, Django keeps a copy of each SQL statement: neither fair to the database nor what a site does.
        with override_settings(DEBUG=False):
            _measure(console, subjects, runs)
            results = _experiment(console, subjects)
        failures = [failure for result in results for failure in result.failures]
        if failures:
            raise CommandError("\n".join(["Some answers were wrong:", *failures]))
        console.print(
            f"\n[bold green]All {len(results)} edits: every answer was the one that the database gives.[/]"
        )


def _interrupt(*args: Any) -> None:
    raise KeyboardInterrupt


def _fill(console: Console) -> None:
    console.print(
        Panel.fit("[bold]Windsock[/], the example site of django-layercache", border_style="dim")
    )
    call_command("migrate", verbosity=0, interactive=False)
    if load.is_imported():
        console.print("The data is there already.\n")
    else:
        console.print("Importing airports, cities and countries, and inventing some reviews:")
        import_with_progress(console)
        console.print()


def _measure(console: Console, subjects: Subjects, runs: int) -> None:
    visitors = timings.page_tasks(subjects, new_client())
    layers = timings.layer_tasks(subjects)
    member = Member.objects.filter(username=invented.DEMO_USERNAME).first() or subjects.author
    with timings.logged_in(member) as client, _bar(console) as bar:
        members = timings.page_tasks(subjects, client)
        tasks = [*visitors, *members, *layers]
        step = bar.add_task("measuring", total=len(tasks))
        measured = timings.measure(tasks, runs, lambda: bar.advance(step))
    pages = len(visitors)
    console.print(tables.pages_table(measured[:pages], measured[pages : 2 * pages]))
    console.print(tables.layers_table(measured[2 * pages :]))
    console.print(
        "off: with caching off, no_cache() · cold: nothing usable in the store\n"
        "warm: asked again · ×: off divided by warm\n"
        "A member's pages are nobody else's; the layers inside them are everybody's.\n"
        f"Store: {_store()}. {runs} runs, in this process, DEBUG off.\n",
        style="dim",
        highlight=False,
    )


def _store() -> str:
    if settings.REDIS_URL:
        return f"Redis at {settings.REDIS_URL}"
    return f"memcached at {settings.MEMCACHED}" if settings.MEMCACHED else "local, in this process"


def _experiment(console: Console, subjects: Subjects) -> list[Result]:
    edits = all_edits(subjects)
    with _bar(console) as bar:
        step = bar.add_task("editing and undoing", total=len(edits) + 1)
        bench = Bench(all_probes(subjects))
        bar.advance(step)
        results = []
        for edit in edits:
            results.append(bench.try_out(edit))
            bar.advance(step)
    tables.print_experiments(console, bench, results)
    if bench.cold:
        raise CommandError("Never answered from the cache: " + ", ".join(bench.cold))
    return results


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<20}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _serve(console: Console, port: int) -> None:
    port = _free_port(port)
    console.print(
        Panel(
            f"[bold]http://127.0.0.1:{port}/[/]\n\n"
            f"Log in as [bold]{invented.DEMO_USERNAME}[/], password [bold]{invented.DEMO_PASSWORD}[/].\n"
            f"Experiments: [bold]http://127.0.0.1:{port}/lab/[/] · Django's admin: /admin/\n"
            "[yellow]DEBUG is on and the secret key is public: for this machine only.[/] Ctrl-C ends it.",
            title="The site is running",
            expand=False,
        )
    )
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


def _free_port(wanted: int) -> int:
    for port in range(wanted, wanted + PORTS_TO_TRY):
        with socket.socket() as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CommandError(f"No free port from {wanted} on. Name another: --port")
