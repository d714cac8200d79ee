"""How long components take without `inv`: each alone with what it needs up and idle, or all of them side by side.

What takes longest here is what no better `inv` could change on this machine.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil

from benchmarks.hosts import records
from benchmarks.measure import run
from orienter_tasks.errors import OrienterError
from orienter_tasks.lifecycle.context import RunContext, RunOptions
from orienter_tasks.processes.record import start_mark
from orienter_tasks.processes.stop import await_end
from orienter_tasks.processes.table import Process
from orienter_tasks.stack.component import NotReadyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from orienter_tasks.stack.component import Component
    from tests.integration.checkouts import Checkout, Host

POLL_SECONDS = 0.002
PATIENCE = 60.0


def starts(host: Host) -> dict[str, float]:
    """Start the stopped main checkout's components one after the other; return each one's seconds until ready."""
    with _begun(host) as ctx:
        return {part.name: _start(part) for part in _up_to_date(ctx)}


def side_by_side(host: Host) -> float:
    """Start the stopped main checkout's components, each as soon as what it needs is ready; return the seconds.

    Nothing else is done: no claim, lock, rendering or look at what runs. No start on this machine is much quicker.
    """
    with _begun(host) as ctx:
        return _start_all(_up_to_date(ctx))


def all_side_by_side(host: Host, checkouts: Sequence[Checkout]) -> float:
    """Do so with the components of many stopped checkouts at once, each in a process of its own; return the seconds."""
    forks = multiprocessing.get_context("fork")
    begin = forks.Barrier(len(checkouts) + 1)

    def start(checkout: Checkout) -> None:
        with _begun(host, checkout) as ctx:
            parts = _up_to_date(ctx)
            begin.wait()
            _start_all(parts)

    processes = [forks.Process(target=start, args=(checkout,)) for checkout in checkouts]
    for process in processes:
        process.start()
    begin.wait(PATIENCE)
    begun = time.perf_counter()
    for process in processes:
        process.join(2 * PATIENCE)
    took = time.perf_counter() - begun
    if any(process.exitcode for process in processes):
        raise OrienterError("not all checkouts could be started side by side")
    return took


def stops(host: Host) -> dict[str, float]:
    """Stop the running main checkout's components one after the other; return each one's seconds."""
    with _begun(host) as ctx:
        return {part.name: _stop(part, ctx.grace) for part in reversed(_in_order(ctx))}


def stop_in_order(host: Host) -> float:
    """Stop the running main checkout's components, each once nothing is left that needs it; return the seconds."""
    with _begun(host) as ctx:
        from orienter_tasks.stack.runner import stop_all

        parts = _in_order(ctx)
        begun = time.perf_counter()
        for error in stop_all(parts, ctx.grace, lambda _: None):
            raise error
        return time.perf_counter() - begun


def end_processes(checkouts: Iterable[Checkout]) -> float:
    """Signal all leaders of running checkouts at once, in no order; return the seconds until no process is left."""
    found = [
        record for checkout in checkouts for servers in (True, False) for record in records(checkout, servers=servers)
    ]
    leaders = [psutil.Process(record.pid) for record in found]
    pids = [process.pid for leader in leaders for process in (leader, *leader.children(recursive=True))]
    processes = [Process(pid, start_mark(pid) or "") for pid in pids]
    begun = time.perf_counter()
    for record in found:
        (os.killpg if record.group else os.kill)(record.pid, record.stop_signal)
    left = await_end(processes, PATIENCE)
    took = time.perf_counter() - begun
    if left:
        raise OrienterError(f"{len(left)} processes did not end")
    return took


def end_containers(host: Host, ids: str) -> float:
    """Let the engine stop and remove the containers and networks of instances; return the seconds.

    Args:
        host: whose.
        ids: a regular expression.
    """

    def docker(*words: str) -> list[str]:
        return run(["docker", *words], host.main.path, host.environ).stdout.split()

    what = ("--filter", f"name=^{host.project}-[a-z]+-{ids}$", "--format")
    containers, networks = docker("ps", *what, "{{.Names}}"), docker("network", "ls", *what, "{{.Name}}")
    begun = time.perf_counter()
    docker("stop", *containers)
    docker("rm", *containers)
    docker("network", "rm", *networks)
    return time.perf_counter() - begun


def longest_chain(host: Host, seconds: Mapping[str, float]) -> tuple[list[str], float]:
    """Return the chain of needs that takes longest, and its seconds."""
    with _begun(host) as ctx:
        parts = _in_order(ctx)
    best: dict[str, tuple[list[str], float]] = {}
    for part in parts:
        before = max((best[need] for need in part.needs if need in best), key=lambda it: it[1], default=([], 0.0))
        best[part.name] = ([*before[0], part.name], before[1] + seconds[part.name])
    return max(best.values(), key=lambda it: it[1])


def _up_to_date(ctx: RunContext) -> Sequence[Component]:
    """Bring nginx's configuration up to date; return the components, each after what it needs."""
    from orienter_tasks.commands.nginx import bring_up_to_date

    bring_up_to_date(ctx)
    return _in_order(ctx)


def _start_all(parts: Sequence[Component]) -> float:
    """Start components, each as soon as what it needs is ready; return the seconds."""
    started: dict[str, Future[float]] = {}

    def start(part: Component) -> float:
        for need in part.needs:
            if need in started:
                started[need].result()
        return _start(part)

    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        begun = time.perf_counter()
        for part in parts:  # what it needs stands before it
            started[part.name] = pool.submit(start, part)
        for starting in started.values():
            starting.result()
        return time.perf_counter() - begun


@contextlib.contextmanager
def _begun(host: Host, checkout: Checkout | None = None) -> Iterator[RunContext]:
    """Hold the lock of a checkout, by default the main one, as `inv` in it would."""
    own = dict(os.environ)
    os.environ.update(host.environ)
    try:
        ctx = RunContext((checkout or host.main).path, host.settings, options=RunOptions(quiet=True))
        start = ctx.begin()
        try:
            yield ctx
        finally:
            start.finish()
    finally:
        os.environ.clear()
        os.environ.update(own)


def _in_order(ctx: RunContext) -> Sequence[Component]:
    """Sort the components so that each stands after what it needs."""
    plan = ctx.current.plan
    left = {part.name: part for part in (*plan.infra, *plan.hooks, *plan.services)}
    ordered: list[Component] = []
    while left:
        free = [part for part in left.values() if not set(part.needs) & left.keys()]
        ordered += free
        for part in free:
            del left[part.name]
    return ordered


def _start(part: Component) -> float:
    begun = time.perf_counter()
    part.start(lambda _: None)
    while True:
        try:
            part.probe()
        except NotReadyError as seen:
            if time.perf_counter() - begun > PATIENCE:
                raise OrienterError(f"{part.name}: {seen}") from seen
            time.sleep(POLL_SECONDS)
        else:
            return time.perf_counter() - begun


def _stop(part: Component, grace: float) -> float:
    begun = time.perf_counter()
    part.stop(grace)
    return time.perf_counter() - begun
