"""A component written by hand that answers the Protocol, and remembers what was done with it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orienter_tasks.stack.component import Component, Event, LogRequest, Note


class Diary:
    """What happened, in order: `start a`, `ready a`, `stop a`; and every event."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lines: list[str] = []
        self.events: list[Event] = []

    def write(self, line: str) -> None:
        with self._lock:
            self.lines.append(line)

    def show(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def starting_with(self, verb: str) -> list[str]:
        with self._lock:
            return [line.split()[1] for line in self.lines if line.startswith(f"{verb} ")]

    def states(self, name: str) -> list[str]:
        with self._lock:
            return [event.state.value for event in self.events if event.component == name]


class Fake:
    """A component.

    Args:
        name: its name.
        diary: where it writes what happens.
        needs: what it needs.
        probes: how many probes fail before it is ready.
        on_start: called within `start`.
        on_probe: called within every `probe`.
        on_stop: called within `stop`.
        runs_already: whether `start` finds it running.
        lines: its log.
        timeout: seconds.
    """

    def __init__(
        self,
        name: str,
        diary: Diary,
        *,
        needs: Sequence[str] = (),
        probes: int = 0,
        on_start: Callable[[Note], None] = lambda note: None,
        on_probe: Callable[[], None] = lambda: None,
        on_stop: Callable[[], None] = lambda: None,
        runs_already: bool = False,
        lines: Sequence[str] = (),
        timeout: float = 30.0,
    ) -> None:
        self.name = name
        self.needs = needs
        self.timeout = timeout
        self.running = runs_already
        self._diary = diary
        self._probes = probes
        self._on_start = on_start
        self._on_probe = on_probe
        self._on_stop = on_stop
        self._runs_already = runs_already
        self._lines = lines

    def start(self, note: Note) -> bool:
        self._diary.write(f"start {self.name}")
        self._on_start(note)
        if self._runs_already:
            return False
        self.running = True
        return True

    def probe(self) -> None:
        self._on_probe()
        if self._probes > 0:
            self._probes -= 1
            raise NotReadyError(f"{self.name} says: not yet")
        self._diary.write(f"ready {self.name}")

    def stop(self, grace: float) -> None:
        self._diary.write(f"stop {self.name}")
        self._on_stop()
        self.running = False

    def logs(self, request: LogRequest) -> Iterator[str]:
        yield from self._lines[-request.lines :]


def as_component(fake: Fake) -> Component:
    """Let the type checker see that a fake is one."""
    return fake


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)
