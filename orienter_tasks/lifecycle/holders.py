"""What holds the ports of an instance, apart from its own processes and containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.machine import ports
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import clients, listeners, listening_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orienter_tasks.backends.protocol import Backend
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.processes.census import Census

CLIENT_SECONDS = 3.0  # how long another program's client may use one of our ports before that is a conflict


def foreign(plan: Mapping[str, int], own: Callable[[], Collection[int]]) -> dict[str, str]:
    """Return the ports of a plan that something else holds, by name; each is described with its holder."""
    held = {name: port for name, port in plan.items() if not ports.is_free(port)}
    mine = own() if held else ()
    found = {name: _explain(port) for name, port in held.items() if port not in mine}
    return {name: f"{plan[name]} ({name}): {holder}" for name, holder in found.items() if holder}


def own_ports(instance: Instance, backend: Backend | None, take: Callable[[], Census] = census.take) -> set[int]:
    """Return the ports that the instance's own processes and containers listen on, by a census."""
    seen = take()
    servers = backend.bound_ports(seen) if backend is not None else ()
    return {*servers} | listening_ports(seen.pids(instance))


def require_removable(instance: Instance, own: Callable[[], Collection[int]] = tuple) -> None:
    """Require that nothing else holds a port of an instance whose data is about to be removed.

    It could be a server of the instance that cannot be seen from here, such as from within a container.

    Raises:
        ConflictError: names the ports and what holds them.
    """
    held = foreign(instance.ports, own)
    if held:
        raise ConflictError(
            f"the data of {instance} stays: something else holds its port{'s' if len(held) > 1 else ''} "
            f"{', '.join(str(instance.ports[name]) for name in held)} and may use it",
            hint="stop it where it was started (inv dev.stop), then run this again",
            details=[f"  {described}" for described in held.values()],
        )


def _explain(port: int) -> str:
    """Describe what holds a port; "" for another program's client that has left it."""
    container = _publisher(port)
    if container:
        return container
    listening = [listener.description for listener in listeners([port])]
    if listening:
        return listening[-1]
    return "" if ports.await_free(port, CLIENT_SECONDS) else clients([port]).get(port, "holder unknown")


def _publisher(port: int) -> str:
    """Name the container that publishes a port: the listener is only Docker's proxy."""
    from orienter_tasks.backends.docker import engine, survey

    try:
        here = not engine.shared().endpoint.is_remote and engine.answers()
        return survey.publisher(engine.shared(), port) if here else ""
    except OrienterError:
        return ""
