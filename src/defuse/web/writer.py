"""The one writer: events queue up, and all that wait are put on disk in one transaction."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from defuse.label import VerdictStore

MOST = 256
"""Events of one transaction."""


@dataclass(frozen=True)
class Event:
    """What to write, what to do once it is on disk, and who waits for it.

    Attributes:
        write: puts the event into the open transaction; False where it is there already or there is nothing to do.
        then: called in the event loop, in the order of the file, after the event is on disk.
        stored: becomes what ``write`` returned.
    """

    write: Callable[[VerdictStore], bool]
    then: Callable[[], None]
    stored: "asyncio.Future[bool]"


class Writer:
    """A thread that owns the store. What it acknowledges is on disk.

    Args:
        open_store: called in the thread.
    """

    def __init__(self, open_store: Callable[[], VerdictStore]) -> None:
        self._open = open_store
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="verdicts", daemon=True)
        self._thread.start()

    async def write(self, write: Callable[[VerdictStore], bool], then: Callable[[], None]) -> bool:
        """Write one event and return, once it is on disk, whether it was new.

        Raises:
            VerdictError: it could not be written.
        """
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._events.put(Event(write, then, stored))
        return await asyncio.shield(stored)

    def close(self) -> None:
        """Write what waits, then end."""
        self._events.put(None)
        self._thread.join()

    def _work(self) -> None:
        store: VerdictStore | None = None
        while (event := self._events.get()) is not None:
            group, last = self._waiting(event)
            try:
                store = store or self._open()
                with store.together():
                    outcome: list[bool] | Exception = [each.write(store) for each in group]
            except Exception as error:  # noqa: BLE001 -- whatever it is, those who wait are told, and the thread lives on
                outcome = error
            _tell(group, outcome)
            if last:
                break
        if store is not None:
            store.close()

    def _waiting(self, event: Event) -> tuple[list[Event], bool]:
        group = [event]
        while len(group) < MOST:
            try:
                more = self._events.get_nowait()
            except queue.Empty:
                break
            if more is None:
                return group, True
            group.append(more)
        return group, False


def _tell(group: list[Event], outcome: list[bool] | Exception) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it all who waited
        group[0].stored.get_loop().call_soon_threadsafe(_finish, group, outcome)


def _finish(group: list[Event], outcome: list[bool] | Exception) -> None:
    for place, event in enumerate(group):
        if isinstance(outcome, Exception):
            event.stored.set_exception(outcome)
            continue
        if outcome[place]:
            event.then()
        event.stored.set_result(outcome[place])
