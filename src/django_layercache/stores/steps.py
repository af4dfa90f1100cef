"""Operations without their I/O: generators that yield what they ask for, and are sent the answers."""

from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar, cast

__all__ = ["awaited_to_the_end", "carried_out"]

Question = TypeVar("Question")
Answer = TypeVar("Answer")
T = TypeVar("T")


def carried_out(steps: Generator[Question, Answer, T], answer: Callable[[Question], Answer]) -> T:
    """What *steps* return, with the answers to what they ask for."""
    try:
        question = next(steps)
        while True:
            question = steps.send(answer(question))
    except StopIteration as done:
        return cast("T", done.value)


async def awaited_to_the_end(
    steps: Generator[Question, Answer, T], answer: Callable[[Question], Awaitable[Answer]]
) -> T:
    """:func:`carried_out`, with answers that are awaited."""
    try:
        question = next(steps)
        while True:
            question = steps.send(await answer(question))
    except StopIteration as done:
        return cast("T", done.value)
