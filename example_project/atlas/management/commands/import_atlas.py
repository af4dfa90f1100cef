"""`manage.py import_atlas`: fill the database."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from atlas.importing import invented, load


class Command(BaseCommand):
    """Imports the places and invents the members, with a progress bar. Does nothing if that has been done."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--again", action="store_true", help="delete everything first")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(file=self.stdout._out)
        if options["again"]:
            load.unload()
        if load.is_imported():
            console.print("The atlas is imported already [dim](--again starts afresh)[/].")
        else:
            import_with_progress(console)
        console.print(
            f"Log in as [bold]{invented.DEMO_USERNAME}[/] with the password [bold]{invented.DEMO_PASSWORD}[/]."
        )


def import_with_progress(console: Console) -> None:
    """Import everything, showing one bar for each kind of row."""
    columns = [
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        load.load(show)
