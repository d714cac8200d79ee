"""Stop an instance, this checkout's or another's, by what really runs and not by the settings; check afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import BackendError, CheckError, ConfigError, OrienterError
from orienter_tasks.identity import replacing, volumes
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.infra import choice
from orienter_tasks.lifecycle import holders
from orienter_tasks.lifecycle.config import config_of
from orienter_tasks.machine import ports
from orienter_tasks.machine.state import locked
from orienter_tasks.processes import census
from orienter_tasks.processes.record import forget_unrecorded, load_all
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.processes.table import describe
from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import LINK
from orienter_tasks.stack.runner import stop_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Settings
    from orienter_tasks.stack.component import Component, Event

PORT_SECONDS = 2.0


class RunningProcess(msgspec.Struct, frozen=True):
    """A service or hook that runs; without a record it may need any server."""

    instance: Instance
    name: str
    needs: Sequence[str]

    def stop(self, grace: float) -> None:
        stop_component(self.instance, self.name, grace)


def services_running(instance: Instance) -> list[RunningProcess]:
    """Return the running services and hooks of an instance."""
    needs = {record.component: record.needs for record in load_all(instance)}
    names = [name for name in sorted(census.take().names(instance)) if not catalog.is_infrastructure(name)]
    return [RunningProcess(instance, name, needs.get(name, catalog.names())) for name in names]


def _link(instance: Instance) -> list[RunningProcess]:
    """Return what reaches an engine on another machine, whichever engine is the current one now."""
    return [RunningProcess(instance, LINK, ())] if LINK in census.take().names(instance) else []


def stop_services(
    instance: Instance, names: Sequence[str], grace: float, on_event: Callable[[Event], None]
) -> list[str]:
    """Stop the named services, or all; return the names of those that ran.

    Raises:
        CheckError: something survives.
    """
    running = [process for process in services_running(instance) if not names or process.name in names]
    _raise_first(stop_all(running, grace, on_event))
    return [process.name for process in running]


def stop_instance(
    instance: Instance, backend: Backend | None, grace: float, on_event: Callable[[Event], None]
) -> list[str]:
    """Stop services, then infrastructure; volumes and data stay. Return the names of what ran.

    Raises:
        CheckError: a process, a container or a listener of ours is left.
    """
    services, link = services_running(instance), _link(instance)
    try:
        seen = backend.status() if backend is not None else ()
    except BackendError as error:  # the engine is not available, but what runs here can be stopped
        _raise_first(stop_all([*services, *link, *_native(instance, backend)], grace, on_event))
        raise BackendError(
            f"the containers of {instance} may still run: {error}", hint="when it answers again: inv dev.stop"
        ) from error
    ran = {status.name for status in seen if status.up}
    # also what does not run: that clears what a crash left
    names = [status.name for status in seen]
    infra = [*backend.components(), *backend.dropped(names)] if backend is not None else []
    idle = {component.name for component in infra} - ran

    def report(event: Event) -> None:
        if event.component not in idle:
            on_event(event)

    _raise_first(stop_all([*services, *link, *infra], grace, report))
    forget_unrecorded(instance)
    volumes.sweep_unfinished(instance)
    _verify(instance, backend)
    return [*(component.name for component in services), *ran]


def _native(instance: Instance, backend: Backend | None) -> list[Component]:
    """Return the native servers that run, without asking an engine."""
    if backend is None:
        return []
    up = {catalog.component_of(name) for name in census.take().names(instance)}
    native = [each for each in backend.components() if backend.backends.of(each.name) == "embedded"]
    return [each for each in native if each.name in up]


def leftovers(claim: Claim, settings: Settings) -> bool:
    """Whether anything of a claim is left that is bound to its id; what cannot be seen counts as left."""
    try:
        if services_running(of_claim(claim)) or _link(of_claim(claim)):
            return True
        backend = choice.of(claim.backends, _config_to_stop(claim, settings))
        left = () if backend is None else backend.data_bound_to_id()
        return bool(left) or (backend is not None and any(status.up for status in backend.status()))
    except OrienterError:
        return True


def stop_other(
    claim: Claim, settings: Settings, claims: Claims, grace: float, require: Callable[[], None] = lambda: None
) -> OrienterError | None:
    """Stop another checkout's instance; return why that failed, if it did. `require` may refuse once it is locked."""
    try:
        config = _config_to_stop(claim, settings)
        backend = choice.of(claim.backends, config)
        with locked(config.instance.lock, timeout=settings.timeouts.lock):
            require()
            stop_instance(config.instance, backend, grace, lambda _: None)
        claims.mark_used(claim.token)
    except OrienterError as error:
        return error
    return None


def remove_other(
    claim: Claim,
    settings: Settings,
    claims: Claims,
    grace: float,
    before: Callable[[InstanceConfig, Backend | None], None] = lambda _config, _backend: None,
) -> None:
    """Stop another checkout's instance, remove its data and release its claim; `before` the data goes, it is stopped.

    Raises:
        OrienterError: something of it cannot be stopped or removed, or may be in use elsewhere; the claim stays.
    """
    config = _config_to_stop(claim, settings)
    instance, backend = config.instance, choice.of(claim.backends, config)
    with locked(instance.lock, timeout=settings.timeouts.lock):
        replacing.settle(instance)
        holders.require_removable(instance, lambda: holders.own_ports(instance, backend))
        stop_instance(instance, backend, grace, lambda _: None)
        before(config, backend)
        if backend is not None:
            backend.remove_data()
    volumes.forget(volumes.home(instance))
    claims.release(claim.token)


def _config_to_stop(claim: Claim, settings: Settings) -> InstanceConfig:
    try:
        return config_of(claim, settings, {})
    except ConfigError:  # an error in its `.env`: looking and stopping need no variables
        return config_of(claim, settings, {}, {})


def _verify(instance: Instance, backend: Backend | None) -> None:
    seen = census.take()
    left = [describe(pid) for pid in seen.pids(instance)]
    if backend is not None:
        left += [f"{status.name} ({status.what})" for status in backend.status(seen) if status.up]
        left += [
            f"port {port} ({name})"
            for port, name in backend.bound_ports(seen).items()
            if not ports.await_free(port, PORT_SECONDS)
        ]
    if backend is not None:
        backend.require_seen()
    if left:
        raise CheckError(
            f"{instance} did not stop completely: {', '.join(left)} is left",
            hint="run inv dev.stop --force, then look with: inv dev.status",
        )


def _raise_first(errors: Sequence[OrienterError]) -> None:
    if errors:
        raise errors[0]
