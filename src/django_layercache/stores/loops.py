"""Wires to a Redis server on event loops."""

from typing import Any

from django_layercache.stores.line import Line, Seats
from django_layercache.stores.wire import Wire, Wires, was_replaced

__all__ = ["Lines"]


class Lines(Seats[Wire]):
    """The lines over *wires*, one for each event loop."""

    def __init__(self, wires: Wires) -> None:
        super().__init__(wires)
        self._wires = wires

    async def exchange(self, commands: bytes, count: int) -> list[Any]:
        """:meth:`Wires.exchange`, without waiting in a thread."""

        def on(line: Line[Wire]) -> Any:
            return line.exchange(line.wire.worded(commands), count)

        return await self.run(on, lambda: self._wires.exchange(commands, count), was_replaced)
