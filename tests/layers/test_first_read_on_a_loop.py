"""The first one who asks for the engine waits for the outbox to be read; on an event loop not for long."""

import asyncio
import threading

from django_layercache.decorators import cached
from django_layercache.handlers import engines
from tests.querysets.conftest import use_store, wait_until_trusted


class SlowOutbox:
    """One that is read as soon as somebody lets it."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.may_end.set()

    def drain(self, touch) -> None:
        self.was_let = self.may_end.wait(4)

    def look(self, touch) -> bool:
        return True

    def place(self) -> str:
        return "slow"


def test_others_come_by_before_the_outbox_is_read(request, settings, monkeypatch) -> None:
    outbox = SlowOutbox()
    monkeypatch.setitem(engines.parts, "outbox", outbox)
    use_store(request, settings, "redis", NAMESPACE="slow outbox")
    engines.reset()
    outbox.may_end.clear()

    @cached(timeout=60)
    async def answer() -> int:
        return 42

    async def story() -> None:
        first = asyncio.create_task(answer())
        await asyncio.sleep(0)
        outbox.may_end.set()
        assert await first == 42

    asyncio.run(story())
    wait_until_trusted()
    assert outbox.was_let, "the loop stood still until it was read"
