"""What Ctrl-C, SIGTERM and a closed terminal do: the first ends the run, the second hurries it, a third nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.errors import InterruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_held: list[object] = []
_postponed: list[int] = []


class Watch:
    """Raises signals as errors within a task, and undoes what is unfinished when one comes between two tasks.

    Args:
        unfinished: whether something was begun that must not be left as it is.
        undo: takes it back, and ends the run.
    """

    def __init__(self, unfinished: Callable[[], bool], undo: Callable[[InterruptError], object]) -> None:
        self._unfinished = unfinished
        self._undo = undo
        self._depth = 0
        self._installed = False
        self._terminals: list[int] = []

    @contextmanager
    def task(self) -> Iterator[None]:
        """Mark that a task runs, with what it does when it fails."""
        self._install()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _install(self) -> None:
        """Take over the signals for the rest of the run, but for those that are ignored (nohup, a shell's `&`)."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = True
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if _held:
            _postponed.append(number)
            return
        self._let_go_of_lost_terminals()
        error = InterruptError("interrupted", signal_number=number)
        if number != signal.SIGINT:
            error = InterruptError(f"told to end by {signal.Signals(number).name}", signal_number=number)
        if not self._depth and self._unfinished():
            with self.task():
                self._undo(error)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        elif self._depth:
            raise error
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _let_go_of_lost_terminals(self) -> None:
        """Write to nowhere instead of to a terminal that was closed: that would fail in the middle of stopping."""
        for number in self._terminals:
            if not os.isatty(number):
                silence(number)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put signals off until the end of the block: Python cannot stand an error while it starts a thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()
        while _postponed and not _held:
            signal.raise_signal(_postponed.pop(0))


def patiently(stop: Callable[[], T], hurry: Callable[[], T]) -> T:
    """Run `stop`; when a signal comes meanwhile, run `hurry`, which no further one ends."""
    try:
        return stop()
    except (KeyboardInterrupt, InterruptError):
        before = {number: signal.signal(number, _ignore) for number in SIGNALS}
        try:
            return hurry()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def silence(descriptor: int) -> None:
    """Let a descriptor lead to nowhere."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler, not SIG_IGN: that would be handed on to child processes."""
