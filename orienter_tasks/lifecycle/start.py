"""One start of an instance: lock, look before anything starts, run the graph, and take everything back on failure."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.instance.model import component_of_port
from orienter_tasks.machine import ports
from orienter_tasks.machine.state import locked, private_dir
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import clients, listeners, listening_ports
from orienter_tasks.services import lease
from orienter_tasks.services.hook import HookComponent
from orienter_tasks.services.service import ServiceComponent, why_skipped
from orienter_tasks.settings import catalog
from orienter_tasks.stack.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.stack.component import Component, Event

CLIENT_SECONDS = 3.0  # that a client of somebody may talk from a port of ours before that is a conflict


@dataclass(frozen=True)
class Plan:
    """The components of an instance.

    Attributes:
        infra: its servers.
        hooks: what runs before the services.
        services: the services that are to run.
        skipped: the others, with the reason.
    """

    infra: Sequence[Component]
    hooks: Sequence[HookComponent]
    services: Sequence[ServiceComponent]
    skipped: Sequence[tuple[str, str]]


def plan(config: InstanceConfig, backend: Backend, *, without: Sequence[str] = ()) -> Plan:
    """Build an instance's components from its settings and variables.

    Args:
        config: the instance.
        backend: its backend.
        without: services that the user does not want this time.
    """
    exported: dict[str, str] = {}
    waited_for: dict[str, list[str]] = {name: [] for name in config.settings.services}
    hooks: list[HookComponent] = []
    for hook in config.settings.hooks.before_services:
        before = [earlier.name for earlier in hooks[-1:]]
        hooks.append(HookComponent(config, hook, needs=(*catalog.awaited(), *before), exported=exported))
        for name in waited_for if hook.services is None else hook.services:
            waited_for[name] = [hook.name]
    services, skipped = [], []
    for name, service in config.settings.services.items():
        reason = "not wanted" if name in without else why_skipped(service, config.variables.values)
        if reason:
            skipped.append((name, reason))
        else:
            services.append(ServiceComponent(config, name, service, hooks=waited_for[name], exported=exported))
    return Plan(backend.components(), hooks, services, skipped)


class Startup:
    """A start in progress.

    Args:
        config: the instance.
        backend: its backend.
        on_event: told of every component's changes, from any thread.
        timeout: seconds for each component to become ready; None: its own.
        on_wait: told who holds the instance's lock, when it has to be waited for.
    """

    def __init__(
        self,
        config: InstanceConfig,
        backend: Backend,
        *,
        on_event: Callable[[Event], None],
        timeout: float | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self._config = config
        self._backend = backend
        self._on_event = on_event
        self._on_wait = on_wait
        self._held = ExitStack()
        self.runner = Runner(on_event, timeout=timeout, whose=str(config.instance))
        self.finished = False

    def lock(self) -> None:
        """Keep other starts and stops of this instance out until `finish` or `abort`."""
        instance = self._config.instance
        timeout = self._config.settings.timeouts.lock
        self._held.enter_context(locked(f"{instance.project}-{instance.id}", timeout=timeout, on_wait=self._on_wait))
        for directory in (instance.data_dir, instance.log_dir, instance.pid_dir):
            private_dir(directory)

    def check(self, components: Sequence[str]) -> None:
        """Look before anything starts: names, ports and leases must be free or our own.

        Raises:
            ConflictError: naming every holder; nothing was started.
        """
        instance = self._config.instance
        foreign = list(self._backend.foreign())
        if foreign:
            raise ConflictError(
                f"{instance} needs names that are taken by what is not its own: {', '.join(foreign)}",
                hint="rename or remove them yourself, or use another id: AI_INSTANCE_ID=N",
            )
        for name in components:
            service = self._config.settings.services.get(name)
            if service is not None and service.lease:
                lease.check(service.lease, instance)
        self._check_ports(components)

    def _check_ports(self, components: Sequence[str]) -> None:
        instance, settings = self._config.instance, self._config.settings
        used = {port: name for name, port in instance.ports.items() if component_of_port(settings, name) in components}
        taken = [port for port in used if not ports.is_free(port)]
        if not taken:
            return
        ours = set(self._backend.ports_held()) | listening_ports(census.take().pids(instance))
        strange = [port for port in taken if port not in ours]
        if not strange:
            return
        named = {listener.port: listener.description for listener in listeners(strange)} | _containers(strange)
        strange = [port for port in strange if port in named or not ports.await_free(port, CLIENT_SECONDS)]
        if not strange:
            return
        named = clients(strange) | named
        lines = [f"  {port} ({used[port]}): {named.get(port, 'holder unknown')}" for port in strange]
        raise ConflictError(
            f"{instance} cannot start: {'port' if len(strange) == 1 else 'ports'} "
            f"{', '.join(map(str, strange))} {'is' if len(strange) == 1 else 'are'} taken",
            hint="end the holder, or use another id: AI_INSTANCE_ID=N inv dev",
            details=lines,
        )

    def finish(self) -> None:
        """Let others in again; what was started stays."""
        self.finished = True
        self._held.close()

    def abort(self, grace: float) -> list[OrienterError]:
        """Stop again what this start started; return what went wrong with that."""
        if self.finished:
            return []
        try:
            return self.runner.abort(grace)
        finally:
            self.finish()


def _containers(strange: Sequence[int]) -> dict[int, str]:
    """Name the containers that publish ports: what listens for them is only Docker's own proxy."""
    from orienter_tasks.backends.docker import engine, survey

    try:
        found = {port: survey.publisher(engine.shared(), port) for port in strange} if engine.answers() else {}
    except OrienterError:
        return {}
    return {port: holder for port, holder in found.items() if holder}
