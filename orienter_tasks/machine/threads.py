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
