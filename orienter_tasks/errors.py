"""The errors that users see, each with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class OrienterError(Exception):
    """A foreseeable fault, printed as one line that says what is wrong and in which instance.

    `details` are printed below it, such as the last lines of a log; then `hint`, the command to run next.
    `component`: the component of the instance that failed, where it is one.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = (), component: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.details = tuple(details)
        self.component = component

    def line(self) -> str:
        """Return message and hint as one line, for use within another text."""
        text = f"{self} → {self.hint}" if self.hint else str(self)
        return " ".join(text.split())


class CheckError(OrienterError):
    """A check, a hook or a service failed."""


class ConfigError(OrienterError):
    """Settings, variables or the command line are wrong."""

    exit_code = 2


class NotFoundError(OrienterError):
    """What was asked for does not exist or is not running."""

    exit_code = 3


class ConflictError(OrienterError):
    """A port, an id, a name or a lock is taken."""

    exit_code = 4


class BackendError(OrienterError):
    """The engine, or a program that a backend needs, is not available."""

    exit_code = 5


class TimedOutError(OrienterError):
    """Something did not become ready, or did not stop, in time."""

    exit_code = 6


class UnexpectedError(OrienterError):
    """A bug: an exception that is not an OrienterError left a task."""

    exit_code = 70


class InterruptError(KeyboardInterrupt):
    """Ctrl-C, or a signal that ends the process: 128 + its number. No handler of ordinary errors catches it.

    `expected`: the ordinary end of a foreground run, which prints nothing.
    """

    hint = ""
    details = ()

    def __init__(self, message: str, *, signal_number: int = 2, expected: bool = False) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
        self.expected = expected
