"""Run a graph of components: each starts as soon as what it needs is ready, all others at once.

Components may be added while others already start, so that the infrastructure does not wait for what comes later.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError, InterruptError, OrienterError, TimedOutError
from orienter_tasks.machine.signals import deferred
from orienter_tasks.stack.component import (
    Component,
    Event,
    NotReadyError,
    SkippedError,
    State,
    Stoppable,
    tail,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SHORTEST_PAUSE, LONGEST_PAUSE = 0.01, 0.1
PAUSE_SHARE = 0.05  # of the time that a component has taken so far: so little is it noticed too late
WORTH_SAYING = 1.0  # seconds after which it is shown why a component is not ready
TAIL_LINES = 15


class Runner:
    """Starts components, waits until they are ready, and takes back what it started when one fails.

    Args:
        on_event: called with every change, from any thread.
        timeout: seconds for each component to become ready; None: each component's own.
        whose: the instance, for messages.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        on_event: Callable[[Event], None],
        *,
        timeout: float | None = None,
        whose: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_event = on_event
        self._timeout = timeout
        self._of_whom = f" of {whose}" if whose else ""
        self._clock = clock
        self._changed = threading.Condition()
        self._components: dict[str, Component] = {}
        self._states: dict[str, State] = {}
        self._skipped: dict[str, str] = {}
        self._failures: list[BaseException] = []
        self._started: list[Component] = []
        self._running: set[str] = set()
        self._cancelled = threading.Event()
        self._late_grace: float | None = None  # set once abort has begun to stop: what comes later stops itself

    @property
    def started(self) -> Sequence[Component]:
        """The components that this run itself started, in that order."""
        with self._changed:
            return tuple(self._started)

    @property
    def states(self) -> Mapping[str, State]:
        with self._changed:
            return dict(self._states)

    @property
    def skipped(self) -> Mapping[str, str]:
        """What is not part of this run, and why."""
        with self._changed:
            return dict(self._skipped)

    def add(self, components: Iterable[Component]) -> None:
        """Take components into the graph; those that need nothing start at once."""
        new = list(components)
        with self._changed:
            for component in new:
                self._components[component.name] = component
                self._states[component.name] = State.WAITING
        with deferred():
            for component in new:
                name = f"start-{component.name}"
                threading.Thread(target=self._run, args=(component,), name=name, daemon=True).start()

    def expect(self, names: Iterable[str]) -> None:
        """Note components that will be added later: whatever needs one waits for it."""
        with self._changed:
            self._states.update(dict.fromkeys(names, State.WAITING))

    def skip(self, name: str, reason: str) -> None:
        """Note that a component is not part of this run; whatever needs it does not wait for it."""
        with self._changed:
            self._skipped[name] = reason
        self._set(name, State.SKIPPED, reason)

    def wait(self, names: Iterable[str] | None = None, *, ready: bool = True, timeout: float | None = None) -> None:
        """Wait until the named components, or all, are ready.

        Args:
            names: which; None: all.
            ready: whether they are to be ready; else it is enough that each was started.
            timeout: seconds after which to go on anyway.

        Raises:
            OrienterError: the first failure of any component.
            InterruptError: when the run was given up.
        """
        wanted = set(names) if names is not None else None
        deadline = self._clock() + timeout if timeout is not None else math.inf
        with self._changed:
            while True:
                if self._failures:
                    raise self._failures[0]
                if self._cancelled.is_set():
                    raise InterruptError("the start was given up")
                states = {k: v for k, v in self._states.items() if wanted is None or k in wanted}
                done = {name for name, state in states.items() if state in (State.READY, State.SKIPPED)}
                if states.keys() <= (done if ready else done | self._running):
                    return
                left = deadline - self._clock()
                if left <= 0:
                    return
                self._changed.wait(min(left, 0.5))

    def give_up(self) -> None:
        """Start nothing more, and wait for nothing; what was started runs until `abort`."""
        with self._changed:
            self._cancelled.set()
            self._changed.notify_all()

    def abort(self, grace: float) -> list[OrienterError]:
        """Cancel what is still starting and stop what this run started; return what went wrong with that.

        Nothing starts once this was called. What is within its `start` for longer than `grace` is named as an error,
        and stopped by its own thread as soon as that returns.
        """
        self.give_up()
        with self._changed:
            self._changed.wait_for(lambda: not self._starting(), timeout=grace)
            self._late_grace = grace
            started = tuple(self._started)
            late = set(self._starting()) - {component.name for component in started}
        errors = stop_all(started, grace, self._show, clock=self._clock)
        return [
            *errors,
            *(CheckError(f"{name} was still being started", hint="see: inv dev.status") for name in sorted(late)),
        ]

    def _starting(self) -> list[str]:
        return [name for name, state in self._states.items() if state is State.STARTING]

    def _run(self, component: Component) -> None:
        try:
            if self._await_needs(component):
                self._start(component)
        except InterruptError as error:
            if not self._cancelled.is_set():
                self._fail(component, error)
            else:
                self._set(component.name, State.STOPPED, "given up")
        except OrienterError as error:
            self._fail(component, error)
        except Exception as error:  # noqa: BLE001 - carried to the main thread, which raises it
            self._fail(component, error)

    def _await_needs(self, component: Component) -> bool:
        """Wait for what a component needs, and then count it as starting; False when the run was given up."""
        self._set(component.name, State.WAITING, ", ".join(component.needs))
        settled = (State.READY, State.SKIPPED)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._cancelled.is_set()
                    or self._failures
                    or all(self._states.get(need, State.SKIPPED) in settled for need in component.needs)
                )
            )
            if self._cancelled.is_set() or self._failures:
                return False
            self._states[component.name] = State.STARTING  # under the same lock: abort waits for it or prevents it
        return True

    def _start(self, component: Component) -> None:
        self._set(component.name, State.STARTING)

        def note(text: str) -> None:
            if self._cancelled.is_set():
                raise InterruptError(f"{component.name}: given up")
            if text:
                self._set(component.name, State.STARTING, text)

        note("")
        try:
            started = component.start(note)
        except SkippedError as reason:
            self.skip(component.name, str(reason))
            return
        if started and not self._keep(component):
            return
        with self._changed:
            self._running.add(component.name)
            self._changed.notify_all()
        found: str = "" if started else getattr(component, "outcome", "already running")  # a hook says what it found
        if not self._await_ready(component) or not self._ready(component, found):
            self._set(component.name, State.STOPPING if started else State.STOPPED, "given up")

    def _ready(self, component: Component, detail: str) -> bool:
        """Report that a component is ready, unless the run was given up."""
        with self._changed:  # so that nothing is said to be ready once give_up has returned
            if not self._cancelled.is_set():
                self._set(component.name, State.READY, detail)
                return True
        return False

    def _await_ready(self, component: Component) -> bool:
        """Ask a component until it is ready; False when the run was given up."""
        limit = self._timeout if self._timeout is not None else component.timeout
        begun = self._clock()  # a pull or a first build takes what it takes, and can be given up through `note`
        while not self._cancelled.is_set():
            try:
                component.probe()
            except NotReadyError as seen:
                took = self._clock() - begun
                if took > limit:
                    raise self._timed_out(component, limit, seen) from seen
                if took > WORTH_SAYING:
                    self._set(component.name, State.STARTING, str(seen))
                self._cancelled.wait(min(max(SHORTEST_PAUSE, took * PAUSE_SHARE), LONGEST_PAUSE))
            else:
                return True
        return False

    def _keep(self, component: Component) -> bool:
        """Note that this run started a component; when abort no longer knew of it, stop it here."""
        with self._changed:
            grace = self._late_grace
            if grace is None:
                self._started.append(component)
                return True
        stop_all([component], grace, self._show, clock=self._clock)
        return False

    def _timed_out(self, component: Component, limit: float, seen: NotReadyError) -> TimedOutError:
        return TimedOutError(
            f"{component.name}{self._of_whom} is not ready after {limit:g} s: {seen}",
            hint=f"see: inv dev.logs -s {component.name} --no-follow, or give it longer with --timeout",
            details=_last_lines(component),
        )

    def _fail(self, component: Component, error: BaseException) -> None:
        if isinstance(error, OrienterError):
            error.component = component.name
        try:
            self._set(component.name, State.FAILED, str(error))
        finally:
            with self._changed:
                self._failures.append(error)
                self._changed.notify_all()

    def _set(self, name: str, state: State, detail: str = "") -> None:
        with self._changed:
            if self._late_grace is not None and any(component.name == name for component in self._started):
                return  # abort already stops it, and reports that
        self._show(Event(name, state, self._clock(), detail))

    def _show(self, event: Event) -> None:
        """Report a change before anything acts on it, so that events come in a sensible order."""
        try:
            self._on_event(event)
        finally:
            with self._changed:
                self._states[event.component] = event.state
                self._changed.notify_all()


def _last_lines(component: Component) -> list[str]:
    try:
        return tail(component, TAIL_LINES)
    except OrienterError:
        return []  # the timeout is what counts


def stop_all(
    components: Iterable[Stoppable],
    grace: float,
    on_event: Callable[[Event], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> list[OrienterError]:
    """Stop components, each as soon as nothing is left that needs it; return what went wrong.

    Raises:
        Exception: what no component should raise, once all others were stopped.
    """
    waiting = {component.name: component for component in components}
    order = TopologicalSorter(dict.fromkeys(waiting, ()))
    for component in waiting.values():
        for need in waiting.keys() & set(component.needs):
            order.add(need, component.name)  # what needs it comes first
    with contextlib.suppress(CycleError):  # all outside of the circle are stopped before it is reported
        order.prepare()
    failed: list[Exception] = []
    stopping: dict[Future[None], str] = {}
    pool = ThreadPoolExecutor(max_workers=max(1, len(waiting)))
    try:
        while order.is_active():
            with deferred():
                for name in order.get_ready():
                    stopping[pool.submit(_stop, waiting.pop(name), grace, on_event, clock, failed)] = name
            for done in wait(stopping, return_when=FIRST_COMPLETED).done:
                order.done(stopping.pop(done))
    finally:
        pool.shutdown(wait=False)  # a signal hurries: then the caller stops the same once more, with less patience
    if waiting:
        raise CheckError(f"components need each other in a circle: {', '.join(waiting)}")
    for error in failed:
        if not isinstance(error, OrienterError):
            raise error
    return [error for error in failed if isinstance(error, OrienterError)]


def _stop(
    component: Stoppable,
    grace: float,
    on_event: Callable[[Event], None],
    clock: Callable[[], float],
    failed: list[Exception],
) -> None:
    try:
        on_event(Event(component.name, State.STOPPING, clock()))
        component.stop(grace)
        on_event(Event(component.name, State.STOPPED, clock()))
    except OrienterError as error:
        failed.append(error)
        on_event(Event(component.name, State.FAILED, clock(), str(error)))
    except Exception as error:  # noqa: BLE001 - raised by stop_all: the others must still be stopped
        failed.append(error)
