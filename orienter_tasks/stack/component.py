"""What a component of an instance is: a container, a native process or a hook, started and stopped alike."""

from __future__ import annotations

import sys
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    Note: TypeAlias = Callable[[str], None]  # tells people in a few words what is going on («pulling 40 %»)


NOT_ANSWERING = "not answering"


class NotReadyError(Exception):
    """The probe's answer as long as a component may still become ready; its text says what was seen."""


class SkippedError(Exception):
    """Raised by `start` where a component is not to run this time; its text says why."""


class State(Enum):
    """What a component is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Event(msgspec.Struct, frozen=True):
    """Something that happened to a component, at a monotonic time in seconds."""

    component: str
    state: State
    at: float
    detail: str = ""


class Stoppable(Protocol):
    """What can be stopped, before what it needs."""

    @property
    def name(self) -> str:
        """Its name, unique within the instance: `postgres`, `dashboard`."""

    @property
    def needs(self) -> Sequence[str]:
        """The names of the components that must be ready before it starts."""

    def stop(self, grace: float) -> None:
        """Stop it, keep its data, and verify that it is gone; without a word when it does not run.

        Args:
            grace: seconds before it is killed.

        Raises:
            OrienterError: when something of it survives, naming it.
        """


class Component(Stoppable, Protocol):
    """One node of the graph. Every verb can be run twice."""

    @property
    def timeout(self) -> float:
        """Seconds after its `start` returned until it must be ready."""

    def start(self, note: Note) -> bool:
        """Start it, or find that it runs already.

        A start that fails leaves nothing behind. `note` raises InterruptError when the run was given up: call it
        during whatever takes long.

        Returns:
            True when this call started it, so that a run that fails stops it again.

        Raises:
            SkippedError: it is not to run; whatever needs it does not wait for it.
        """

    def probe(self) -> None:
        """Ask it once whether it is ready, with a short time limit of its own.

        Raises:
            NotReadyError: not yet.
            OrienterError: it never will be (it exited, or refuses us).
        """

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Give the lines of its log, without line ends; nothing when there is none."""


class ComponentStatus(msgspec.Struct, frozen=True):
    """What a component of an instance was found to be; a component stopped on purpose is not found.

    Attributes:
        name: the component.
        kind: `container` or `process`.
        running: whether it runs, with all of its processes; whether it answers is another question.
        what: the container's name, or the process's pid, and what is wrong with it, for people.
        started_at: seconds since the epoch; None when it does not run.
        memory: bytes (PSS of its processes, or what its container is charged for); None where unknown.
        exposed: the addresses beyond loopback that it listens on, with their ports.
        silence: why it does not answer although it runs, such as that nothing listens on its port; "" where it does,
            and where nobody asked.
        last_lines: the end of its log, when it died or does not answer.
        exit_code: what its process ended with, 128 + N for signal N; None while it runs, and where it is unknown.
        ended_at: when it ended or failed to start, in seconds since the epoch; None likewise.
        partly: whether some of its processes run, though not all.
        unseen: whether it may run where it cannot be seen.
    """

    name: str
    kind: Literal["container", "process"]
    running: bool
    what: str
    started_at: float | None = None
    memory: int | None = None
    exposed: Sequence[str] = ()
    last_lines: Sequence[str] = ()
    exit_code: int | None = None
    ended_at: float | None = None
    partly: bool = False
    silence: str = ""
    unseen: bool = False

    @property
    def up(self) -> bool:
        return self.running or self.partly

    @property
    def well(self) -> bool:
        return self.running and not self.silence

    @property
    def state(self) -> str:
        if not self.running:
            return "unknown" if self.unseen else "failed"
        return NOT_ANSWERING if self.silence else "running"

    @property
    def fault(self) -> str:
        """How it ended, or that it does not answer, in a few words; "" while all is well."""
        if self.running or self.unseen:
            return NOT_ANSWERING if self.silence else ""
        from orienter_tasks.processes.shim import as_child
        from orienter_tasks.processes.spawn import describe_exit

        return "failed" if self.exit_code is None else describe_exit(as_child(self.exit_code))


EVERY_LINE = sys.maxsize


class LogRequest(msgspec.Struct, frozen=True):
    """Which lines of a log.

    Attributes:
        lines: at most so many of the last lines that are there; EVERY_LINE for all of them.
        since: only what was written after this time (seconds since the epoch), as far as the log tells times.
        follow: set to end a stream that goes on with what is written from now on; None: no stream.
    """

    lines: int
    since: float | None = None
    follow: threading.Event | None = None


TAIL_CHARACTERS = 16_384


def tail(component: Component, lines: int) -> list[str]:
    """Return the last lines of a component's log."""
    return last(component.logs(LogRequest(lines=lines)))


def last(lines: Iterable[str]) -> list[str]:
    """Return the last of some lines: as many as people may want to see at once, and the end of a very long one."""
    kept, size = deque[str](), 0
    for line in lines:
        kept.append(line[-TAIL_CHARACTERS:])
        size += len(kept[-1])
        while size > TAIL_CHARACTERS:
            size -= len(kept.popleft())
    return list(kept)
