"""How long a command waits for an engine that is silent: one deadline for all its calls together."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from orienter_tasks.machine.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

LIMIT_SECONDS = 10.0
SILENT = f"it was silent for {LIMIT_SECONDS:g} s"
PROMPT_SECONDS = 1.0
STEP_SECONDS = 0.1
FORGIVEN_SECONDS = 60.0


class Patience:
    """Adds up an engine's silence; safe to share between threads.

    A call that is answered promptly does not count, and neither does the time in which an engine does what this or
    another call asks for, as long as it `answers` pings: Podman does not describe a container while it stops it. While
    other calls get their answers, an engine is busy, and not silent. A command that runs for long forgets silence
    after a minute.
    """

    def __init__(self, answers: Callable[[], bool]) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._silence = 0.0
        self._counted_until = float("-inf")
        self._heard = float("-inf")
        self._working_until: list[float] = []

    @property
    def exhausted(self) -> bool:
        with self._lock:
            if time.monotonic() - self._counted_until > FORGIVEN_SECONDS:
                self._silence = 0.0
            return self._silence >= LIMIT_SECONDS

    def count(self, since: float) -> None:
        """Count the time from then until now, once if several calls wait."""
        with self._lock:
            now = time.monotonic()
            if now - self._heard > PROMPT_SECONDS:
                self._silence += now - max(since, self._counted_until)
            self._counted_until = now

    def call(self, ask: Callable[[], T], work: float) -> T:
        """Return the answer of a call whose `work` may take the engine so many seconds.

        The call has a thread of its own, since a call that gets a byte now and then never times out.

        Raises:
            TimeoutError: the engine has been silent for too long, in this call or in former ones.
        """
        if self.exhausted:
            raise TimeoutError(SILENT)
        call = _Call(ask)
        with self._working(work):
            since = time.monotonic()
            answered = call.ended.wait(PROMPT_SECONDS)
            while not answered:
                if time.monotonic() > max(self._working_until) or not self._answers():
                    self.count(since)
                if self.exhausted:
                    raise TimeoutError(SILENT)
                since = time.monotonic()
                answered = call.ended.wait(STEP_SECONDS)
        self._heard = time.monotonic()
        return call.result()

    @contextmanager
    def _working(self, seconds: float) -> Iterator[None]:
        until = time.monotonic() + seconds
        self._working_until.append(until)
        try:
            yield
        finally:
            self._working_until.remove(until)


class _Call(Generic[T]):
    """A call that runs in a thread, which is left behind if nobody waits for it any more."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self.ended = threading.Event()
        self._answers: list[T] = []
        self._failure: BaseException | None = None
        self._ask = ask
        with deferred():
            threading.Thread(target=self._run, name="engine-call", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._failure = error
        self.ended.set()

    def result(self) -> T:
        if self._failure is not None:
            raise self._failure
        return self._answers[0]
