"""`inv infra.stats`: what an instance's parts take of memory and CPU, once or as long as one looks."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orienter_tasks.errors import BackendError, NotFoundError
from orienter_tasks.observe.usage import Usage, container_sample, process_samples, usage
from orienter_tasks.output import live, tables
from orienter_tasks.output.console import fancy
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import megabytes
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.table import Table

    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.usage import Sample

COLUMNS: tuple[Column[Usage], ...] = (
    Column("component", lambda one: one.component),
    Column("memory", lambda one: megabytes(one.memory), right=True),
    Column("cpu", lambda one: "–" if one.cpu is None else f"{one.cpu:.1f} %", right=True),
    Column("processes", lambda one: "–" if one.processes is None else str(one.processes), right=True),
)
INTERVAL = 1.0
THREADS = 8


class Meter:
    """Reads the usage of one instance again and again; each reading is compared with the one before.

    Args:
        instance: whose.
        containers: tells its running containers now: component to id.
    """

    def __init__(self, instance: Instance, containers: Callable[[], Mapping[str, str]]) -> None:
        self._instance = instance
        self._containers = containers
        self._former: dict[str, Sample] = {}
        self._pool = ThreadPoolExecutor(max_workers=THREADS)

    def read(self) -> list[Usage]:
        """Take a sample of every part, all at once; the engine takes about a second for each of its own."""
        asked = [self._pool.submit(container_sample, *pair) for pair in self._containers().items()]
        samples = process_samples(self._instance)
        samples += [sample for future in asked if (sample := future.result()) is not None]
        usages = [usage(sample, self._former.get(sample.component)) for sample in samples]
        self._former = {sample.component: sample for sample in samples}
        return sorted(usages, key=lambda one: (not catalog.is_infrastructure(one.component), one.component))

    def close(self) -> None:
        """Let go of the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def show(ctx: RunContext, *, as_json: bool) -> None:
    """Show the usage of this instance: live on a terminal until Ctrl-C, once otherwise.

    Raises:
        NotFoundError: nothing of it runs.
    """
    meter = Meter(ctx.current.instance, lambda: _containers(ctx))
    try:
        first = meter.read()
        if not first:
            raise NotFoundError(f"{ctx.current.instance} is not running", hint="start it with: inv dev")
        if fancy(sys.stdout) and not as_json:
            readings = live.every(INTERVAL, meter.read, first=first)
            live.follow(ctx.report, (_drawn(ctx, usages) for usages in readings))
            return
        time.sleep(INTERVAL)
        usages = meter.read()
    finally:
        meter.close()
    if as_json:
        ctx.report.json(_document(ctx.current.instance, usages))
    else:
        ctx.report.table(COLUMNS, _with_sum(usages), title=str(ctx.current.instance))


def _containers(ctx: RunContext) -> dict[str, str]:
    """Return the running containers of this instance: component to id."""
    backend = ctx.current.settled_backend
    if backend is None or "docker" not in backend.backends.used:
        return {}
    from orienter_tasks.backends.docker import survey
    from orienter_tasks.backends.docker.engine import shared

    try:
        found = survey.containers_of(shared(), ctx.current.instance)
    except BackendError as error:
        ctx.report.warn(f"not seen: {error.line()}")
        return {}
    return {one.component: one.id for one in found if one.running}


def _drawn(ctx: RunContext, usages: Sequence[Usage]) -> Table:
    width = ctx.report.console(sys.stdout).width
    table = tables.drawn(COLUMNS, _with_sum(usages), width)
    table.title, table.title_justify = f"{ctx.current.instance}  Ctrl-C ends", "left"
    return table


def _with_sum(usages: Sequence[Usage]) -> list[Usage]:
    known = [one.cpu for one in usages if one.cpu is not None]
    total = Usage(
        "all",
        "",
        _sum(one.memory for one in usages),
        _sum(one.processes for one in usages),
        sum(known) if known else None,
    )
    return [*usages, total]


def _sum(numbers: Iterable[int | None]) -> int | None:
    """Return the sum; None where one of the numbers is unknown."""
    found = list(numbers)
    known = [each for each in found if each is not None]
    return sum(known) if len(known) == len(found) else None


def _document(instance: Instance, usages: Sequence[Usage]) -> dict[str, object]:
    return {
        "id": instance.id,
        "project": instance.project,
        "root": str(instance.root),
        "components": [
            {
                "name": one.component,
                "kind": one.kind,
                "memory_bytes": one.memory,
                "cpu_percent": one.cpu,
                "processes": one.processes,
            }
            for one in usages
        ],
        "memory_bytes": _sum(one.memory for one in usages),
    }
