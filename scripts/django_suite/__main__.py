"""Django's own test suite, with the queries of every model cached, compared with Django alone.

    make django-suite ARGS="--only core --database postgresql --store redis --autocommit"

Each group of apps runs in a process of its own, and if a test fails there, once more without this
library (which is kept for the next time). It fails if a test fails that plain Django passes, or if
a result from the cache is not what the database says at that moment. See
docs/explanation/django-suite.md.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from groups import groups_of  # noqa: E402
from places import Place, start_servers  # noqa: E402
from report import Report  # noqa: E402
from runs import Run  # noqa: E402
from sources import source_of  # noqa: E402

WORK = ROOT / ".django-suite"


def main() -> int:
    arguments = parse()
    source = source_of(arguments.django, WORK)
    groups = groups_of(source, arguments.only, small=arguments.commits == "autocommit")
    report = Report(arguments.most)
    with ExitStack() as stack:
        servers = start_servers(stack, arguments.database, arguments.store)
        place = Place(
            arguments.database, arguments.store, arguments.commits, servers, arguments.remember
        )
        print(f"Django of {source.name}: {place}, {len(groups)} groups", flush=True)
        for number, group in enumerate(groups, 1):
            run = Run(source, WORK, place, group, arguments.limit)
            cached = run.cached()
            plain = run.plain(anew=arguments.anew) if cached["failures"] else None
            report.add(plain, cached)
            print(f"{number:3}/{len(groups)}  {report.line(plain, cached)}  {group}", flush=True)
    report.show()
    return 1 if report.found else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("django_suite", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--django",
        metavar="VERSION|PATH",
        help="a version, of which the source is downloaded, or an unpacked source or its archive; "
        "by default the version that is installed",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=["core"],
        metavar="APP",
        help="core (all that is about the ORM), wider (the rest), light (six apps), or names",
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--store", choices=("local", "redis"), default="local")
    parser.add_argument(
        "--autocommit",
        dest="commits",
        action="store_const",
        const="autocommit",
        default="transactions",
        help="no transaction around each test: all commits are real (much slower)",
    )
    parser.add_argument(
        "--data",
        dest="commits",
        action="store_const",
        const="data",
        help="a transaction around each test, but what a class of tests begins with is committed",
    )
    parser.add_argument(
        "--remember",
        type=int,
        default=20,
        metavar="N",
        help="after each commit, ask the latest N queries of the test again (%(default)s)",
    )
    parser.add_argument("--anew", action="store_true", help="run plain Django again, too")
    parser.add_argument("--limit", type=int, default=1200, help="seconds for a group (%(default)s)")
    parser.add_argument("--most", type=int, default=15, help="reasons to print (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
