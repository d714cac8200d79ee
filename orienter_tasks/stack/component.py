"""What a component of an instance is: a container, a native process or a hook, started and stopped alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeAlias

    Note: TypeAlias = Callable[[str], None]  # tells people in a few words what is going on («pulling 40 %»)


class NotReadyError(Exception):
    """The probe's answer as long as a component may still become ready; its text says what was seen."""


class State(Enum):
    """What a component is doing."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Event:
    """Something that happened to a component, at a monotonic time in seconds."""

    component: str
    state: State
    at: float
    detail: str = ""


class Component(Protocol):
    """One node of the graph. Every verb can be run twice."""

    @property
    def name(self) -> str:
        """Its name, unique within the instance: `postgres`, `dashboard`."""

    @property
    def needs(self) -> Sequence[str]:
        """The names of the components that must be ready before it starts."""

    @property
    def timeout(self) -> float:
        """Seconds after its `start` returned until it must be ready."""

    def start(self, note: Note) -> bool:
        """Start it, or find that it runs already.

        A start that fails leaves nothing behind. `note` raises InterruptError when the run was given up: call it
        during whatever takes long.

        Returns:
            True when this call started it, so that a run that fails stops it again.
        """

    def probe(self) -> None:
        """Ask it once whether it is ready, with a short time limit of its own.

        Raises:
            NotReadyError: not yet.
            OrienterError: it never will be (it exited, or refuses us).
        """

    def stop(self, grace: float) -> None:
        """Stop it, keep its data, and verify that it is gone; without a word when it does not run.

        Args:
            grace: seconds before it is killed.

        Raises:
            OrienterError: when something of it survives, naming it.
        """

    def logs(self, request: LogRequest) -> Iterator[str]:
        """Give the lines of its log, without line ends; nothing when there is none."""


@dataclass(frozen=True)
class LogRequest:
    """Which lines of a log.

    Attributes:
        lines: at most so many of the last lines that are there.
        since: only what was written after this time (seconds since the epoch), as far as the log tells times.
        follow: set to end a stream that goes on with what is written from now on; None: no stream.
    """

    lines: int
    since: float | None = None
    follow: threading.Event | None = None


def tail(component: Component, lines: int) -> list[str]:
    """Return the last lines of a component's log."""
    return list(component.logs(LogRequest(lines=lines)))
