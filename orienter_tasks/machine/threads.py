"""One function for many things at once, in threads that do not keep a run from ending at a signal."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

from orienter_tasks.machine.signals import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
R = TypeVar("R")


def map_in_threads(function: Callable[[T], R], items: Iterable[T], *, threads: int = 16) -> list[R]:
    """Return what the function returns for each item, in order; the first error is raised once all before it are done.

    An executor of `concurrent.futures` would wait for its threads even after a signal, and a silent engine keeps one
    for seconds. What has not begun by then is left out.
    """
    todo: SimpleQueue[tuple[Future[R], T]] = SimpleQueue()
    futures: list[Future[R]] = []
    for item in items:
        futures.append(Future())
        todo.put((futures[-1], item))

    def work() -> None:
        while True:
            try:
                future, item = todo.get_nowait()
            except Empty:
                return
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(item))
                except BaseException as error:  # noqa: BLE001 - raised again by result()
                    future.set_exception(error)

    try:
        with deferred():
            for _ in futures[:threads]:
                threading.Thread(target=work, daemon=True).start()
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def map_in_turn(function: Callable[[T, Callable[[], None]], R], items: Iterable[T]) -> list[R]:
    """Return what the function returns for each item, as `map_in_threads` does; none runs after an error.

    The function is given what it calls as soon as the next item may begin beside it. All are waited for, also after an
    error: a signal ends them too (`raise_unheard`).
    """
    futures: list[Future[R]] = []

    def work(future: Future[R], item: T, passed: threading.Event) -> None:
        try:
            future.set_result(function(item, passed.set))
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            future.set_exception(error)
        passed.set()

    try:
        for item in items:
            future: Future[R] = Future()
            passed = threading.Event()
            with deferred():
                threading.Thread(target=work, args=(future, item, passed), daemon=True).start()
                futures.append(future)
            passed.wait()
            if any(each.done() and each.exception() for each in futures):
                break
    finally:
        for future in futures:
            future.exception()
    return [future.result() for future in futures]
