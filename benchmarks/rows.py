"""``python -m benchmarks.rows``: the codec of rows beside pickle, by kind of column and number of rows.

Both in turn, in CPU time, the best of some rounds: the machine may have other things to do.
"""

import json
import pickle
import random
import timeit
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from time import process_time
from typing import Any
from uuid import UUID

from django_layercache.serializers.rows import RowsCodec

COUNTS = (1, 3, 10, 100, 1000)
ROUNDS = 10
_draw = random.Random(1)


def _text(length: int, letters: str = "abcdefghij klmnop") -> str:
    return "".join(_draw.choices(letters, k=length))


def _moment() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=_draw.randrange(10**13))


def _price() -> Decimal:
    return Decimal(_draw.randrange(10**6)) / 100


def _post(number: int) -> tuple[Any, ...]:
    """As PostgreSQL returns a blog's."""
    intro = None if number % 3 == 0 else _text(12)
    texts = (_text(30), _text(20), _text(400))
    return (number, *texts, number % 50, _moment(), number % 2 == 0, intro, 7 * number)


def _order(number: int) -> tuple[Any, ...]:
    """As PostgreSQL returns a shop's."""
    paid = None if number % 3 == 0 else _moment()
    key, facts = UUID(int=_draw.getrandbits(128)), json.dumps({"x": number})
    return (key, _text(20), _price(), number / 7, _moment(), paid, date(2026, 1, 2), True, facts)


KINDS: dict[str, Callable[[int], tuple[Any, ...]]] = {
    "posts": _post,
    "orders": _order,
    "integers": lambda n: (n, n * 7, -n, n % 5),
    "floats": lambda n: (n, n / 7, n / 3),
    "texts": lambda n: (n, _text(10), _text(20), _text(40)),
    "long texts": lambda n: (n, _text(400), _text(400)),
    "datetimes": lambda n: (n, _moment(), _moment()),
    "decimals": lambda n: (n, _price(), _price()),
    "UUIDs": lambda n: (n, UUID(int=_draw.getrandbits(128))),
    "timedeltas": lambda n: (n, timedelta(seconds=n)),
    "bytes": lambda n: (n, _draw.randbytes(20)),
    "lists": lambda n: (n, [1, 2, n]),
}


def _both(one: Callable[[], Any], other: Callable[[], Any]) -> tuple[float, float]:
    """Microseconds of each."""
    number = max(1, int(0.005 / timeit.timeit(one, number=1)))
    times = [
        [timeit.timeit(call, number=number, timer=process_time) for call in (one, other)]
        for _ in range(ROUNDS)
    ]
    ours, theirs = (min(column) / number * 1e6 for column in zip(*times, strict=True))
    return ours, theirs


def main() -> None:
    print(f"{'':12}{'rows':>6}{'bytes':>9}{'loads':>10}{'pickle':>10}{'ratio':>7}", end="")
    print(f"{'dumps':>10}{'pickle':>10}{'ratio':>7}   (µs)")
    for name, make in KINDS.items():
        for count in COUNTS:
            rows = [make(number) for number in range(count)]
            ours, theirs = RowsCodec.dumps(rows), pickle.dumps(rows, 5)
            loads = _both(partial(RowsCodec.loads, ours), partial(pickle.loads, theirs))
            dumps = _both(partial(RowsCodec.dumps, rows), partial(pickle.dumps, rows, 5))
            print(f"{name:12}{count:6}{len(ours):9}", end="")
            for own, other in (loads, dumps):
                print(f"{own:10.1f}{other:10.1f}{own / other:7.2f}", end="")
            print(flush=True)


if __name__ == "__main__":
    main()
