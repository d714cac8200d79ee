"""The errors that users meet: each has an exit code and may have a hint saying what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class OrienterError(Exception):
    """A foreseeable fault.

    Args:
        message: what is wrong, and in which instance; printed as one line.
        hint: the command to run next, or what else to do; printed last, on a line of its own.
        details: lines between the two, such as a table or the last lines of a log.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.hint = hint
        self.details = tuple(details)

    def line(self) -> str:
        """Return message and hint as one line, to be part of another text."""
        text = f"{self} → {self.hint}" if self.hint else str(self)
        return " ".join(text.split())


class CheckError(OrienterError):
    """A check, a hook or a service failed."""

    exit_code = 1


class ConfigError(OrienterError):
    """Settings, variables or the command line are wrong."""

    exit_code = 2


class NotFoundError(OrienterError):
    """What was asked for does not exist or is not running."""

    exit_code = 3


class ConflictError(OrienterError):
    """A port, an id, a name or a lock belongs to somebody else."""

    exit_code = 4


class BackendError(OrienterError):
    """The engine, or a program that a backend needs, is not available."""

    exit_code = 5


class TimedOutError(OrienterError):
    """Something did not become ready, or did not end, in its time."""

    exit_code = 6


class UnexpectedError(OrienterError):
    """A bug: an exception that is not an OrienterError left a task."""

    exit_code = 70


class InterruptError(OrienterError):
    """The user pressed Ctrl-C, or the process was told to end; 128 + the signal's number.

    Args:
        message: what happened.
        signal_number: the signal that was received.
        expected: it is the ordinary end of a foreground run, and needs no line of its own.
        hint: what to do next.
    """

    exit_code = 130

    def __init__(self, message: str, *, signal_number: int = 2, expected: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signal_number
        self.expected = expected
