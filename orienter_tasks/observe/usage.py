"""Samples of what processes and containers have used, and what two samples say together."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from orienter_tasks.errors import NotFoundError
from orienter_tasks.processes import census
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orienter_tasks.instance.model import Instance

NANOSECONDS = 1e9
STATS_SECONDS = 5.0


class Sample(msgspec.Struct, frozen=True):
    """What a component had used at one moment.

    Attributes:
        component: which.
        kind: `container` or `process`.
        memory: bytes; the proportional set size of processes, for a container what it is charged with; None if unknown.
        processes: how many; None if unknown.
        cpu: seconds of CPU time by thread of execution (a pid and its start, or a container).
        at: monotonic seconds, or the engine's own clock.
    """

    component: str
    kind: str
    memory: int | None
    processes: int | None
    cpu: Mapping[str, float]
    at: float


class Usage(msgspec.Struct, frozen=True):
    """What a component uses; None where it is unknown.

    `cpu` is in percent of one core, and unknown before there are two samples to compare.
    """

    component: str
    kind: str
    memory: int | None
    processes: int | None
    cpu: float | None


def usage(sample: Sample, former: Sample | None) -> Usage:
    """Compare two samples of a component; what began or ended between them counts from or until then."""
    cpu = None
    if former is not None and sample.at > former.at and sample.cpu:
        spent = sum(max(0.0, seconds - former.cpu.get(key, 0.0)) for key, seconds in sample.cpu.items())
        cpu = 100 * spent / (sample.at - former.at)
    return Usage(sample.component, sample.kind, sample.memory, sample.processes, cpu)


def process_samples(instance: Instance) -> list[Sample]:
    """Sample the components of an instance that are native processes."""
    pids: dict[str, list[int]] = defaultdict(list)
    for process, members in census.take().by_component(instance).items():
        pids[catalog.component_of(process) or process] += [member.pid for member in members]
    samples = (_process_sample(component, each) for component, each in pids.items() if component)
    return [sample for sample in samples if sample is not None]


def container_sample(component: str, container: str) -> Sample | None:
    """Ask the engine for one sample of a container; None when it is gone."""
    from orienter_tasks.backends.docker.engine import shared

    engine = shared()
    try:
        with engine.talking(f"tell what {component} uses", work=STATS_SECONDS):
            stats = engine.reader.stats(container)
            measures = engine.facts.measures
    except NotFoundError:
        return None
    return read_stats(component, stats, measures=measures)


def read_stats(component: str, stats: Mapping[str, Any], *, measures: bool = True) -> Sample | None:
    """Read the engine's statistics of a container; None when it does not run any more.

    Memory is what `docker stats` shows: without the page cache that the kernel may drop. An engine that does not
    measure its containers tells what their parent's control group uses.
    """
    from orienter_tasks.backends.docker.survey import moment

    memory, at = stats.get("memory_stats") or {}, moment(stats.get("read"))
    if at is not None and not measures:
        return Sample(component, "container", None, None, {}, at)
    if at is None or "usage" not in memory:
        return None
    details = memory.get("stats") or {}
    droppable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return Sample(
        component=component,
        kind="container",
        memory=max(0, int(memory["usage"]) - int(droppable)),
        processes=int((stats.get("pids_stats") or {}).get("current", 0)),
        cpu={"container": int(stats["cpu_stats"]["cpu_usage"]["total_usage"]) / NANOSECONDS},
        at=at,
    )


def _process_sample(component: str, pids: Iterable[int]) -> Sample | None:
    import psutil

    memory, cpu = 0, {}
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                full, times = process.memory_full_info(), process.cpu_times()
                cpu[f"{pid} {process.create_time()}"] = times.user + times.system
                memory += getattr(full, "pss", full.rss)
        except psutil.Error:
            continue
    return Sample(component, "process", memory, len(cpu), cpu, time.monotonic()) if cpu else None
