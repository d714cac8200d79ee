"""Ctrl-C, SIGTERM, a closed terminal: the first ends the run, the second skips the grace period, more are ignored."""

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

_deferring: list[object] = []
_pending: list[int] = []


class SignalHandler:
    """Raises signals as errors within a task; between two tasks it undoes what is unfinished.

    `unfinished` says whether something has begun that must not be left as it is; `undo` reverts it and ends the run.
    """

    def __init__(self, unfinished: Callable[[], bool], undo: Callable[[InterruptError], object]) -> None:
        self._unfinished = unfinished
        self._undo = undo
        self._depth = 0
        self._installed = False
        self._terminals: list[int] = []

    @contextmanager
    def task(self) -> Iterator[None]:
        """Mark that a task is running, which handles the error."""
        self._install()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _install(self) -> None:
        """Handle the signals for the rest of the run, except ignored ones (nohup, a shell's `&`)."""
        if self._installed or threading.current_thread() is not threading.main_thread():
            return
        self._installed = True
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        if _deferring:
            _pending.append(number)
            return
        self._silence_closed_terminals()
        what = "interrupted" if number == signal.SIGINT else f"terminated by {signal.Signals(number).name}"
        error = InterruptError(what, signal_number=number)
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

    def _silence_closed_terminals(self) -> None:
        """Redirect a closed terminal to /dev/null: writing to it would fail in the middle of a stop."""
        for number in self._terminals:
            if not os.isatty(number):
                silence(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals to the end of the block: an exception while a thread starts would leave Python in disorder."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _deferring.append(None)
    try:
        yield
    finally:
        _deferring.pop()
        while _pending and not _deferring:
            signal.raise_signal(_pending.pop(0))


def run_or_hurry(stop: Callable[[], T], hurry: Callable[[], T]) -> T:
    """Run `stop`; if a signal interrupts it, run `hurry`, during which further signals are ignored."""
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
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, descriptor)
        os.close(null)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler, not SIG_IGN, which child processes would inherit."""
