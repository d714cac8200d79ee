"""Stop the services of an instance for as long as something must find its data at rest, then start them again."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from orienter_tasks.errors import InterruptError
from orienter_tasks.lifecycle.start import HURRIED_GRACE
from orienter_tasks.lifecycle.stop import services_running, stop_services
from orienter_tasks.machine.signals import run_or_hurry
from orienter_tasks.machine.threads import map_in_threads
from orienter_tasks.processes.record import load
from orienter_tasks.services.resumed import resumed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.errors import OrienterError
    from orienter_tasks.output.console import Report
    from orienter_tasks.services.resumed import ResumedService


@contextmanager
def quiesced(config: InstanceConfig, grace: float, report: Report) -> Iterator[None]:
    """Stop the services that run, and start the same again at the end, however that comes; the lock must be held.

    The foreground `inv dev` of the instance waits for the lock meanwhile. A second Ctrl-C does not wait until they are
    ready.
    """
    former = [resumed(config, process.name) for process in services_running(config.instance)]
    if not former:
        yield
        return
    names = [service.name for service in former]
    report.note(f"{', '.join(names)} of {config.instance}: stopped while its data is copied")
    try:
        stop_services(config.instance, names, grace, lambda _: None)
        yield
    except BaseException:
        for failure in _resume(config, former, grace):
            report.error(failure)
        raise
    failures = _resume(config, former, grace)
    for failure in failures[1:]:
        report.error(failure)
    if failures:
        raise failures[0]


def _resume(
    config: InstanceConfig, former: Sequence[ResumedService], grace: float
) -> Sequence[OrienterError | InterruptError]:
    """Start services again; return what went wrong, and the signal that hurried it."""
    signals: list[InterruptError] = []

    def again(grace: float, *, ready: bool) -> list[OrienterError]:
        left = [service.name for service in former if load(config.instance, service.name) == service.record]
        if left:  # the stop was interrupted
            stop_services(config.instance, left, grace, lambda _: None)
        return [failure for failure in _in_order(former, ready=ready) if failure is not None]

    def hurry() -> list[OrienterError]:
        signal = sys.exc_info()[1]
        signals.extend([signal] if isinstance(signal, InterruptError) else [])
        return again(HURRIED_GRACE, ready=False)

    failures = run_or_hurry(lambda: again(grace, ready=True), hurry)
    return [*signals, *failures]


def _in_order(services: Sequence[ResumedService], *, ready: bool) -> Iterator[OrienterError | None]:
    """Start services, each once those that it needs are ready, or have failed."""
    by_name = {service.name: service for service in services}
    order = TopologicalSorter({name: by_name.keys() & service.needs for name, service in by_name.items()})
    order.prepare()
    while order.is_active():
        names = order.get_ready()
        yield from map_in_threads(lambda name: by_name[name].resume(ready=ready), names)
        order.done(*names)
