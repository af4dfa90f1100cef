"""The process in which one group of apps is tested: Django's own ``runtests``, and little around it."""

import atexit
import gc
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.test import testcases
from django.test.runner import DiscoverRunner
from django.test.utils import CaptureQueriesContext

OPTIONS = json.loads(sys.argv[1])


def main() -> None:
    sys.modules["worker"] = sys.modules["__main__"]  # Django imports the runner by its name
    sys.path.insert(0, str(Path.cwd()))
    directory = tempfile.mkdtemp(prefix="django_")
    tempfile.tempdir = os.environ["TMPDIR"] = directory
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    import runtests

    tidy_up_after_failures()
    if OPTIONS["commits"] == "autocommit":
        commit_for_real()
    elif OPTIONS["commits"] == "data":
        commit_data()
    if not OPTIONS["plain"]:
        runtests.ALWAYS_INSTALLED_APPS.append("django_layercache")
        allow_fewer_queries()
    failures = runtests.django_tests(
        verbosity=1, interactive=False, failfast=False, keepdb=False, reverse=False,
        test_labels=OPTIONS["apps"], debug_sql=False, parallel=1, tags=[], exclude_tags=["selenium"],
        test_name_patterns=None, start_at=None, start_after=None, pdb=False, buffer=False, timing=False,
        shuffle=False,
    )  # fmt: skip
    sys.exit(bool(failures))


class Runner(DiscoverRunner):
    """Writes down what there is to know about a run."""

    def run_suite(self, suite: Any, **kwargs: Any) -> Any:
        import watching

        if not OPTIONS["plain"]:
            watching.watch(OPTIONS["remember"])
        result = super().run_suite(suite, **kwargs)
        failures = {test.id(): text for test, text in [*result.failures, *result.errors]}
        failures |= {test.id(): "unexpected success" for test in result.unexpectedSuccesses}
        results = {
            "run": result.testsRun,
            "skipped": len(result.skipped),
            "failures": failures,
            **watching.results(),
        }
        Path(OPTIONS["results"]).write_text(json.dumps(results))
        return result


def tidy_up_after_failures() -> None:
    """What fails before it disconnects a receiver leaves it to the tests after it, until it is collected."""
    run = testcases.SimpleTestCase.run

    def run_and_collect(self: Any, result: Any = None) -> Any:
        before = result and len(result.failures) + len(result.errors)
        done = run(self, result)
        if result and len(result.failures) + len(result.errors) > before:
            gc.collect()
        return done

    testcases.SimpleTestCase.run = run_and_collect


def allow_fewer_queries() -> None:
    """An assertion of how many queries there are holds with fewer, too: that is what a cache is for."""
    context: Any = testcases._AssertNumQueriesContext
    exit_as_it_is = context.__exit__

    def exit_context(self: Any, *exception: Any) -> None:
        CaptureQueriesContext.__exit__(self, *exception)
        if exception[0] is not None or len(self) >= self.num:
            exit_as_it_is(self, *exception)

    context.__exit__ = exit_context


def commit_for_real() -> None:
    """Have each ``TestCase`` work like a ``TransactionTestCase``: its transactions are committed."""
    from django.core.management.commands import flush

    testcases.TestCase._databases_support_transactions = classmethod(lambda cls: False)
    # After each test it would make all permissions and content types anew.
    flush.emit_post_migrate_signal = forget_content_types
    if OPTIONS["postgres"]:
        empty_tables_faster()


def commit_data() -> None:
    """Have each ``TestCase`` commit what the class begins with, and remove it when its tests are done."""
    enter, rollback = testcases.TestCase._enter_atomics, testcases.TestCase._rollback_atomics

    def enter_atomics(cls: Any) -> Any:
        return enter.__func__(cls) if "cls_atomics" in vars(cls) else {}

    def rollback_atomics(cls: Any, atomics: Any) -> None:
        if atomics:
            rollback.__func__(cls, atomics)
            return
        for name in cls._databases_names(include_mirrors=False):
            call_command("flush", verbosity=0, interactive=False, database=name)

    testcases.TestCase._enter_atomics = classmethod(enter_atomics)
    testcases.TestCase._rollback_atomics = classmethod(rollback_atomics)
    if OPTIONS["postgres"]:
        empty_tables_faster()


def forget_content_types(*args: Any, **kwargs: Any) -> None:
    """What is left of the signal: who remembers content types has to forget them."""
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()


def empty_tables_faster() -> None:
    """TRUNCATE makes new files; of small tables, DELETE is much faster. Foreign keys are not looked at meanwhile."""
    from django.db.backends.postgresql.operations import DatabaseOperations

    truncate, execute = DatabaseOperations.sql_flush, DatabaseOperations.execute_sql_flush

    def sql_flush(
        self: Any,
        style: Any,
        tables: Any,
        *,
        reset_sequences: bool = False,
        allow_cascade: bool = False,
    ) -> Any:
        if reset_sequences or allow_cascade or not tables:
            return truncate(
                self, style, tables, reset_sequences=reset_sequences, allow_cascade=allow_cascade
            )
        return [f"DELETE FROM {self.quote_name(table)}" for table in tables]

    def execute_sql_flush(self: Any, statements: Any) -> None:
        # On the driver's own connection: it is none of the statements that a project would run.
        driver = self.connection.connection
        driver.execute("SET session_replication_role = replica")
        try:
            execute(self, statements)
        finally:
            driver.execute("SET session_replication_role = origin")

    DatabaseOperations.sql_flush = sql_flush
    DatabaseOperations.execute_sql_flush = execute_sql_flush


if __name__ == "__main__":
    main()
