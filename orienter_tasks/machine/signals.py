"""Ctrl-C, SIGTERM, a closed terminal: the first ends the run, the second skips the grace period, more are ignored."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.errors import InterruptError
from orienter_tasks.machine.streams import silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CTRL_C = 128 + signal.SIGINT
"""The exit code of a run that Ctrl-C ended."""

AGAIN_SECONDS = 0.2

_deferring: list[object] = []
_pending: list[int] = []
_unheard: list[InterruptError] = []


class SignalHandler:
    """Raises signals as errors within a task; between two tasks it undoes what is unfinished.

    An error raised in a signal handler can get lost: Python drops it in callbacks such as `__del__`, a library may
    catch everything, and a call that was about to block does not see the signal. So it is raised again until it has
    left the task, or until something handled it on purpose (`until_ctrl_c`, `run_or_hurry`).

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
            if not self._depth:
                _heard()

    def handle_ctrl_c(self) -> None:
        """Handle Ctrl-C from now on; before the first task as Python does, but not in the middle of an import."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler and _on_main_thread():
            signal.signal(signal.SIGINT, self._arrived)

    def _install(self) -> None:
        """Handle the signals for the rest of the run, except ignored ones (nohup, a shell's `&`)."""
        if self._installed or not _on_main_thread():
            return
        self._installed = True
        _drop_quietly()
        self._terminals = [number for number in (1, 2) if os.isatty(number)]
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if _deferring or _importing(frame):
            _pending.append(number)
            self._ring()
            return
        self._silence_closed_terminals()
        what = "interrupted" if number == signal.SIGINT else f"terminated by {signal.Signals(number).name}"
        error = InterruptError(what, signal_number=number)
        if self._depth:
            _unheard.append(error)
            self._ring()
            raise error
        if self._unfinished():
            with self.task():
                self._undo(error)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _ring(self) -> None:
        signal.signal(signal.SIGALRM, self._again)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS, AGAIN_SECONDS)

    def _again(self, _number: int, frame: FrameType | None) -> None:
        if _deferring or _importing(frame):
            return
        if _pending:
            self._arrived(_pending.pop(0), frame)
        else:
            raise_unheard()

    def _silence_closed_terminals(self) -> None:
        """Redirect a closed terminal to /dev/null: writing to it would fail in the middle of a stop."""
        for number in self._terminals:
            if not os.isatty(number):
                silence(number)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def raise_unheard() -> None:
    """Raise the latest signal's error, unless there is none or it is being handled."""
    handled = sys.exc_info()[1]
    while handled is not None and handled not in _unheard[-1:]:
        handled = handled.__context__
    if _unheard and handled is None:
        raise _unheard[-1]


def _heard() -> None:
    if _unheard and not _pending:
        signal.setitimer(signal.ITIMER_REAL, 0)
    _unheard.clear()


def _importing(frame: FrameType | None) -> bool:
    """Whether Python's import system runs: an error can leave its lock held, on which all other threads would hang."""
    return frame is not None and frame.f_code.co_filename.startswith("<frozen importlib")


def _drop_quietly() -> None:
    """Print nothing where Python drops one of our errors: it will be raised again."""
    report = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, InterruptError):
            report(dropped)

    sys.unraisablehook = hook


@contextmanager
def until_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C be the ordinary end of the block."""
    try:
        yield
    except KeyboardInterrupt as error:
        if isinstance(error, InterruptError) and error.exit_code != CTRL_C:
            raise
        _heard()


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals to the end of the block: an exception while a thread starts would leave Python in disorder."""
    if not _on_main_thread():
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
    except KeyboardInterrupt:
        before = {number: signal.signal(number, _ignore) for number in SIGNALS}
        _heard()
        try:
            return hurry()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A handler, not SIG_IGN, which child processes would inherit."""
