"""Many logs as one: each line behind its component's name, coloured on a terminal."""

from __future__ import annotations

import contextlib
import queue
import re
import sys
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, OrienterError
from orienter_tasks.machine.signals import deferred
from orienter_tasks.output.console import fancy, flush, write
from orienter_tasks.output.printable import in_colour, printable
from orienter_tasks.stack.component import EVERY_LINE, LogRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.stack.component import Component

COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class LogStream:
    """Prints components' logs on stdout.

    Args:
        components: whose.
        lines: at most so many lines that are there already, of each; with `grep`, of those that it finds.
        since: only what was written after this time.
        grep: only lines that this regular expression finds something in.

    Raises:
        ConfigError: `grep` is not a regular expression.
    """

    def __init__(
        self, components: Sequence[Component], *, lines: int, since: float | None = None, grep: str = ""
    ) -> None:
        try:
            self._pattern = re.compile(grep) if grep else None
        except re.error as error:
            raise ConfigError(f"--grep: invalid regular expression {grep!r}: {error}") from error
        self._components = components
        self._lines = lines
        self._since = since
        self._stop = threading.Event()
        self._queue: queue.Queue[tuple[int, str, str]] = queue.Queue(maxsize=1_000)
        self._width = max((len(component.name) for component in components), default=0)
        self._colour = fancy(sys.stdout)

    def show(self) -> None:
        """Print what is there, one component after the other."""
        for index, component in enumerate(self._components):
            for line in self._lines_of(component, None):
                self._print(index, component.name, line)
        flush()

    def follow(self, tick: Callable[[], bool], *, every: float = 0.5) -> None:
        """Print what is there and what comes, until `tick` says that it is enough.

        Args:
            tick: called every so often; False ends the stream.
            every: seconds between two calls.
        """
        threads = [
            threading.Thread(target=self._pump, args=(index, component), daemon=True)
            for index, component in enumerate(self._components)
        ]
        with deferred():
            for thread in threads:
                thread.start()
        try:
            while tick():
                self._drain(every)
        finally:
            self._stop.set()
            self._drain(0.0)

    def _pump(self, index: int, component: Component) -> None:
        try:
            for line in self._lines_of(component, self._stop):
                if self._stop.is_set():
                    return
                self._queue.put((index, component.name, line))
        except OrienterError as error:
            self._queue.put((index, component.name, f"[log ended: {error}]"))

    def _lines_of(self, component: Component, follow: threading.Event | None) -> Iterator[str]:
        if self._pattern is None:
            yield from component.logs(LogRequest(lines=self._lines, since=self._since, follow=follow))
            return
        found, count = deque[str](maxlen=self._lines), 0
        for line in component.logs(LogRequest(lines=EVERY_LINE, since=self._since)):
            count += 1
            if self._pattern.search(line):
                found.append(line)
        yield from found
        if follow is not None:  # from the beginning again: nothing that is written in between gets lost
            lines = component.logs(LogRequest(lines=EVERY_LINE, since=self._since, follow=follow))
            yield from filter(self._pattern.search, islice(lines, count, None))

    def _drain(self, wait: float) -> None:
        """Print what has come; wait at most so long for the first line."""
        with contextlib.suppress(queue.Empty):
            item = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
            for _ in range(self._queue.qsize()):  # not for ever: somebody may write faster than this prints
                self._print(*item)
                item = self._queue.get_nowait()
            self._print(*item)
        flush()

    def _print(self, index: int, name: str, line: str) -> None:
        label = name.ljust(self._width)
        label = f"\x1b[{COLOURS[index % len(COLOURS)]}m{label} │\x1b[0m" if self._colour else f"{label} |"
        write(f"{label} {in_colour(line) if self._colour else printable(line)}\n")
