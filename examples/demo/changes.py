"""Tell open pages, by server-sent events, that the notes changed."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from examples.demo.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LISTENERS = 10
LOOK_SECONDS = 0.5
HEARTBEAT_SECONDS = 5.0


class Changes:
    """A count that goes up with each change, and those who wait for it.

    A listener holds one of the server's threads, so their number is limited.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._revision = 0
        self._listeners = 0

    def announce(self) -> None:
        """Wake every listener."""
        with self._changed:
            self._revision += 1
            self._changed.notify_all()

    def listen(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        """Return a stream of events: one at once, one for each change, a comment now and then.

        It ends when `gone` says that its reader has left. UnavailableError if too many listen already.
        """
        with self._changed:
            if self._listeners >= LISTENERS:
                raise UnavailableError(f"{LISTENERS} pages listen already")
            self._listeners += 1
        return _Stream(self._events(gone), self._leave)

    def _leave(self) -> None:
        with self._changed:
            self._listeners -= 1

    def _events(self, gone: Callable[[], bool]) -> Iterator[bytes]:
        told, spoke = -1, time.monotonic()
        yield b"retry: 1000\n\n"
        while not gone():
            if told != self._revision:
                told, spoke = self._revision, time.monotonic()
                yield b'event: notes\ndata: {"revision": %d}\n\n' % told
            elif time.monotonic() - spoke >= HEARTBEAT_SECONDS:
                spoke = time.monotonic()
                yield b": still here\n\n"
            self._wait(told)

    def _wait(self, told: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._revision != told, LOOK_SECONDS)


class _Stream:
    """An iterator that gives its place back when it is closed, even if it was never read."""

    def __init__(self, events: Iterator[bytes], leave: Callable[[], None]) -> None:
        self._events = events
        self._leave: Callable[[], None] | None = leave

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        leave, self._leave = self._leave, None
        if leave:
            leave()
