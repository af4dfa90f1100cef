"""The mixes that are explored exhaustively, by name."""

from tests.engine.explorer import Mix
from tests.engine.places import Process
from tests.engine.programs import (
    about,
    ask,
    ask_many,
    behind_a_key,
    change,
    found_or_not,
    page_before,
    page_of_what_is_behind_a_key,
    page_over,
    page_without_its_broken_fragment,
    reader,
    recording,
    refresh,
    snapshot_reader,
    within,
    writer,
)

A, B, AB = about("a"), about("b"), about("a", "b")
PAGE = page_over(A, "b")
ENVIRONMENT = {"evict": 1, "expire": 1, "fail": 1}


def one_process(*threads: tuple) -> Process:
    """Threads that share an engine, and so its flights."""
    return Process("P", threads)


BEHIND = {
    "tags": ("a", "b", "c", "rows"),
    "warm": (about("b"), about("c"), about("a")),
    "with_sequence": True,
}

MIXES = {
    "a writer of a key, one of the row behind it, a reader that learns which row that is": Mix(
        (writer("A", "a"), writer("B", "b", "rows"), reader("R", behind_a_key(), times=3)),
        {},
        **BEHIND,
    ),
    "a writer of a key, one of the row behind it then, a page of both": Mix(
        (writer("A", "a"), writer("C", "c", "rows"), reader("R", page_of_what_is_behind_a_key())),
        {},
        **BEHIND,
    ),
    "a writer of a key and of the row behind it, a reader that learns which row that is": Mix(
        (writer("A", "a", "c", "rows"), reader("R", behind_a_key(), times=3)),
        ENVIRONMENT,
        **BEHIND,
    ),
    "a writer of a row, a reader with a snapshot that learns which row that is": Mix(
        (
            writer("B", "b", "rows"),
            reader("R", behind_a_key(), times=1),
            snapshot_reader("S", behind_a_key(), behind_a_key()),
        ),
        {},
        **BEHIND,
    ),
    "one writer, two readers": Mix(
        (writer("A", "a"), reader("R", A), reader("S", A)),
        {"evict": 1, "expire": 1, "fail": 1},
        tags=("a",),
    ),
    "two writers of one tag, one reader": Mix(
        (writer("A", "a"), writer("B", "a"), reader("R", A)), ENVIRONMENT, tags=("a",)
    ),
    "two writers of tags that overlap, one reader of both": Mix(
        (writer("A", "a", "b"), writer("B", "b"), reader("R", AB)), ENVIRONMENT
    ),
    "two writers, a reader whose tags become known while it builds": Mix(
        (writer("A", "a"), writer("B", "b"), reader("R", recording("a", "b"))), {"evict": 1}
    ),
    "a writer of two tags, a reader whose tags become known while it builds": Mix(
        (writer("A", "a", "b"), reader("R", recording("a", "b"))), ENVIRONMENT
    ),
    "two writers, a page over a fragment": Mix(
        (writer("A", "a"), writer("B", "b"), reader("R", PAGE)), {"evict": 1}
    ),
    "a page over a fragment that another reader stores": Mix(
        (writer("A", "a"), reader("R", PAGE), reader("S", A, times=1)),
        {"expire": 1, "fail": 1},
    ),
    "a writer, a reader, a reader with a snapshot": Mix(
        (writer("A", "a"), reader("R", A, times=1), snapshot_reader("S", A, A)),
        ENVIRONMENT,
        tags=("a",),
    ),
    "two writers, a reader with a snapshot of both tags": Mix(
        (writer("A", "a"), writer("B", "b"), snapshot_reader("S", AB, AB)),
        {"evict": 1, "expire": 1},
        warm=(AB,),
    ),
    "a writer, a reader, a reader with a snapshot and a page over a fragment": Mix(
        (writer("A", "a"), reader("R", A, times=1), snapshot_reader("S", PAGE, PAGE)),
        {"evict": 1},
        warm=(PAGE,),
    ),
    "a page that shows a fragment of what it has read before": Mix(
        (writer("A", "a"), reader("R", page_before(A, "a")), reader("S", A, times=1)),
        {"expire": 1},
        tags=("a",),
    ),
    "a writer that is cut off while it commits, a writer, a reader": Mix(
        (writer("A", "a", cut_off=True), writer("B", "a"), reader("R", A)),
        ENVIRONMENT,
        tags=("a",),
    ),
    "a writer that reads what it has changed, and two readers": Mix(
        (writer("A", "a", then_ask=A), reader("R", A), reader("S", A, times=1)),
        {"expire": 1, "fail": 1},
        tags=("a",),
    ),
    "a writer that builds a page of what it has changed, a writer, a reader of the page": Mix(
        (writer("A", "a", then_ask=PAGE), writer("B", "b"), reader("R", PAGE)), {"fail": 1}
    ),
    "a writer that rolls back, then one that commits, on one connection": Mix(
        (
            Process("W", ((change("A", "a", then_ask=A, rolls_back=True), change("B", "a")),)),
            reader("R", A),
        ),
        ENVIRONMENT,
        tags=("a",),
    ),
    "a savepoint that is rolled back, in a transaction that changes more": Mix(
        (writer("A", "a", savepoint=("b",)), reader("R", AB)), ENVIRONMENT
    ),
    "two threads of one process and a writer": Mix(
        (one_process((ask(A), ask(A)), (ask(A),)), writer("A", "a")),
        {"expire": 1, "impatience": 1},
        tags=("a",),
    ),
    "two threads that want what the other builds, and a writer": Mix(
        (
            one_process((ask(within(A, "outer", "inner")),), (ask(within(A, "inner", "outer")),)),
            writer("A", "a"),
        ),
        {"impatience": 1},
        tags=("a",),
    ),
    "a writer and a reader in one process, and a reader in another": Mix(
        (one_process((change("A", "a", then_ask=A),), (ask(A), ask(A))), reader("R", A)),
        {"fail": 1, "impatience": 1},
        tags=("a",),
    ),
    "two writers, one who asks for many at once": Mix(
        (
            writer("A", "a"),
            writer("B", "a", "b"),
            Process("R", ((ask_many(A, B), ask_many(A, B)),)),
        ),
        {"evict": 1},
    ),
    "a writer, one who refreshes, one reader": Mix(
        (writer("A", "a"), Process("F", ((refresh(A), ask(A)),)), reader("R", A)),
        ENVIRONMENT,
        tags=("a",),
    ),
    "two writers of a row, a reader whose tags are settled by what it finds": Mix(
        (writer("A", "a", "b"), writer("B", "a", "b"), reader("R", found_or_not())), ENVIRONMENT
    ),
    "a writer, two readers of a page that does without its broken fragment": Mix(
        (
            writer("A", "a"),
            reader("R", page_without_its_broken_fragment()),
            reader("S", page_without_its_broken_fragment(), times=1),
        ),
        {"evict": 1},
        tags=("a",),
    ),
    "a writer that writes twice, a reader": Mix(
        (Process("W", ((change("A", "a"), change("B", "a")),)), reader("R", A)),
        {"evict": 2, "expire": 1},
        tags=("a",),
    ),
    "a reset, two writers, one reader": Mix(
        (writer("A", "a"), writer("B", "a"), reader("R", A)),
        {"reset": 1, "expire": 1},
        tags=("a",),
    ),
    "COMMITs that outlive their lease": Mix(
        (writer("A", "a"), writer("B", "a"), reader("R", A)),
        {"expire": 2, "evict": 1, "fail": 1},
        tags=("a",),
        lenient=True,
    ),
}

#: Too large to explore; taken at random.
LARGE_MIXES = {
    "three writers, three readers, two tags": Mix(
        (
            writer("A", "a"),
            writer("B", "a", "b"),
            writer("C", "b"),
            reader("R", A, AB),
            reader("S", AB),
            reader("T", PAGE),
        ),
        {"evict": 2, "expire": 2, "fail": 1},
    ),
    "five writers, pages, snapshots, threads": Mix(
        (
            Process("W", ((change("A", "a"), change("B", "b"), change("C", "a", "b")),)),
            writer("D", "a", then_ask=PAGE),
            writer("E", "b", savepoint=("a",), then_ask=B),
            reader("R", PAGE, A, AB),
            snapshot_reader("S", A, PAGE, A, PAGE),
            snapshot_reader("T", AB, AB),
            one_process((ask(PAGE), ask(A)), (ask(A), ask(PAGE)), (ask(PAGE), ask_many(A, B))),
        ),
        {"evict": 3, "expire": 2, "fail": 2, "impatience": 2, "reset": 1},
        warm=(PAGE, AB),
    ),
}
