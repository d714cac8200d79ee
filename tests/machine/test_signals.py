"""Signals as errors, put off, and met a second time: real signals to this very process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import InterruptError
from orienter_tasks.machine.signals import (
    AGAIN_SECONDS,
    CTRL_C,
    SIGNALS,
    SignalHandler,
    deferred,
    raise_unheard,
    run_or_hurry,
    until_ctrl_c,
)
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers back, and begin with none that is ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def handler(*, unfinished: bool = False) -> tuple[SignalHandler, list[InterruptError]]:
    undone: list[InterruptError] = []
    return SignalHandler(lambda: unfinished, undone.append), undone


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_within_a_task_a_signal_is_an_error(number: signal.Signals, code: int) -> None:
    signals, undone = handler(unfinished=True)
    with pytest.raises(InterruptError, match=number.name) as caught, signals.task():
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert undone == []


def test_within_a_task_ctrl_c_is_also_pythons_own_error() -> None:
    signals, _ = handler()
    with pytest.raises(KeyboardInterrupt) as caught, signals.task():
        signal.raise_signal(signal.SIGINT)
    assert isinstance(caught.value, InterruptError)
    assert caught.value.exit_code == CTRL_C


class Dropping:
    """Gets a signal where Python drops whatever is raised."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


class Failing:
    def __del__(self) -> None:
        raise ValueError("not ours")


def test_python_still_reports_what_else_it_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    dropped: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: dropped.append(args.exc_type))
    signals, _ = handler()
    with signals.task():
        Failing()
    assert dropped == [ValueError]

    def body() -> None:
        Dropping(signal.SIGTERM)
        time.sleep(60)

    ended(body)
    assert dropped == [ValueError]


def ended(body: Callable[[], object]) -> InterruptError:
    """Return the error with which a task ends."""
    signals, _ = handler()
    with pytest.raises(InterruptError) as caught, signals.task():
        body()
    return caught.value


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_got_lost_is_raised_again(number: signal.Signals) -> None:
    seen: list[str] = []

    def dropped() -> None:
        Dropping(number)
        seen.append("dropped by Python")
        time.sleep(60)

    def swallowed() -> None:
        with suppress(BaseException):
            signal.raise_signal(number)
        seen.append("caught by somebody")
        time.sleep(60)

    assert ended(dropped).exit_code == 128 + number
    assert ended(swallowed).exit_code == 128 + number
    assert seen == ["dropped by Python", "caught by somebody"]


def test_a_signal_that_got_lost_at_a_tasks_end_is_raised_there() -> None:
    def body() -> None:
        with suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        raise_unheard()

    assert ended(body).exit_code == 143


def test_what_is_being_handled_is_not_raised_again() -> None:
    steps: list[str] = []

    def undo() -> None:
        try:
            raise KeyError
        finally:
            time.sleep(3 * AGAIN_SECONDS)
            steps.append("undone")

    def body() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            with suppress(KeyError):
                undo()
            steps.append("raised on")

    ended(body)
    assert steps == ["undone", "raised on"]
    time.sleep(2 * AGAIN_SECONDS)  # the task has ended: the signal was heard


def test_ctrl_c_is_the_ordinary_end_of_what_it_ends() -> None:
    signals, _ = handler()
    with signals.task():
        with until_ctrl_c():
            signal.raise_signal(signal.SIGINT)
        time.sleep(2 * AGAIN_SECONDS)
        raise_unheard()
    with pytest.raises(InterruptError, match="SIGTERM"), signals.task(), until_ctrl_c():
        signal.raise_signal(signal.SIGTERM)


def importing(number: int) -> None:
    """Get a signal while Python's import system runs."""
    within = compile("handler(number, sys._getframe())", "<frozen importlib._bootstrap>", "exec")
    exec(within, {"sys": sys, "number": number, "handler": signal.getsignal(number)})


def test_an_import_is_finished_before_a_signal_is_raised() -> None:
    """An error in the import system's own code can leave its lock held."""
    seen: list[str] = []

    def body() -> None:
        importing(signal.SIGTERM)
        seen.append("imported")
        time.sleep(60)

    assert ended(body).exit_code == 143
    assert seen == ["imported"]


def test_ctrl_c_before_the_first_task_waits_for_an_import_too() -> None:
    signals, _ = handler()
    signals.handle_ctrl_c()
    importing(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        time.sleep(60)
    assert type(caught.value) is KeyboardInterrupt
    signal.setitimer(signal.ITIMER_REAL, 0)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_no_timer_of_a_host_is_stopped() -> None:
    signals, _ = handler()
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        with signals.task():
            pass
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_between_tasks_what_is_unfinished_is_undone() -> None:
    signals, undone = handler(unfinished=True)
    with signals.task():
        pass
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert [error.exit_code for error in undone] == [130, 143]


def test_between_tasks_a_finished_run_ends_as_any_program() -> None:
    signals, undone = handler()
    with signals.task():
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    done = subprocess.run(programs.command("terminated_between_tasks"), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"")
    assert undone == []


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals, _ = handler()
    with signals.task():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_signals_are_put_off_while_threads_start() -> None:
    signals, _ = handler()
    seen: list[str] = []

    def start_a_thread() -> None:
        with deferred():
            signal.raise_signal(signal.SIGTERM)
            thread = threading.Thread(target=seen.append, args=("started",))
            thread.start()
            thread.join()
        seen.append("not reached")

    with pytest.raises(InterruptError, match="SIGTERM"), signals.task():
        start_a_thread()
    assert seen == ["started"]


def test_threads_are_never_put_off() -> None:
    def within_a_thread() -> None:
        with deferred():
            entered.set()
            leave.wait(5)

    signals, _ = handler()
    entered, leave = threading.Event(), threading.Event()
    thread = threading.Thread(target=within_a_thread)
    thread.start()
    entered.wait(5)
    with pytest.raises(InterruptError), signals.task():
        signal.raise_signal(signal.SIGTERM)
    leave.set()
    thread.join()


def test_the_second_signal_hurries_and_the_third_changes_nothing() -> None:
    signals, _ = handler()
    steps: list[str] = []

    def stop() -> str:
        steps.append("stop")
        signal.raise_signal(signal.SIGINT)
        return "patient"

    def hurry() -> str:
        steps.append("hurry")
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        return "hurried"

    with signals.task():
        assert run_or_hurry(stop, hurry) == "hurried"
        assert steps == ["stop", "hurry"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert run_or_hurry(lambda: "patient", hurry) == "patient"
