"""This instance's ports: what listens on them, and what is reachable from other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.context import known, started_on
from orienter_tasks.infra import choice
from orienter_tasks.instance.model import component_of_port, port_plan
from orienter_tasks.machine import ports
from orienter_tasks.output.checks import Check
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import is_loopback, listeners, listening_addresses, listening_ports
from orienter_tasks.processes.table import describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.lifecycle.context import RunContext


def held(ctx: RunContext) -> Iterator[Check]:
    """Say whether each port is free, in use by this instance, or held by another process, which is named."""
    config = ctx.current.config
    names = {port: name for name, port in config.instance.ports.items()}
    busy = [port for port in names if not ports.is_free(port)]
    strange = set(busy) - _own(ctx, config)
    if not strange:
        are = "is" if len(busy) == 1 else "are"
        mine = f"{len(busy)} {are} this instance's own" if busy else "none is in use"
        words = ", ".join(f"{name} {port}" for port, name in names.items())
        yield Check("ports", "ok", f"{words}: {mine}")
        return
    who = _holders([port for port in busy if port in strange], ctx)
    for port, holder in who.items():
        if component_of_port(config.settings, names[port]):
            words = f"{port} ({names[port]}) of {config.instance} is held by {holder}"
            yield Check("ports", "problem", words, f"end that, or: {_elsewhere(ctx, config)}")
        else:
            yield Check("ports", "ok", f"{port} ({names[port]}) is held by {holder}; nothing here uses it")


def _holders(wanted: Sequence[int], ctx: RunContext) -> Mapping[int, str]:
    """Name the holder of each port: the instance that claims it, and the process."""
    found = dict.fromkeys(wanted, "somebody who cannot be seen")
    found |= {listener.port: listener.description for listener in listeners(wanted)}
    for claim in ctx.claims.read():
        if claim.token != ctx.current.claim.token:
            for port in set(claim.ports.values()) & set(wanted):
                found[port] = f"instance {claim.id} of {claim.project} in {claim.root}: {found[port]}"
    return found


def _elsewhere(ctx: RunContext, config: InstanceConfig) -> str:
    """Return a command that starts on an unclaimed id with free ports."""
    claims = ctx.claims.read()
    taken = {claim.id for claim in claims if claim.project == config.instance.project}
    claimed = {port for claim in claims for port in claim.ports.values()}
    for number in range(1, config.settings.instances.max + 1):
        plan = set(port_plan(config.settings, number).values())
        if number not in taken and not plan & claimed and all(map(ports.is_free, plan)):
            return f"AI_INSTANCE_ID={number} inv dev (another id has other data)"
    return "inv instances"


def exposed(ctx: RunContext) -> Iterator[Check]:
    """Name each process of this instance that listens beyond the loopback address."""
    config = ctx.current.config
    names = {port: name for name, port in config.instance.ports.items()}
    found = _addresses(ctx, config)
    wide = sorted(place for place in found if not _is_within(place[1], config))
    for port, address in wide:
        component = component_of_port(config.settings, names.get(port, "")) or names.get(port, "a port of its own")
        service = config.settings.services.get(component)
        if service is not None and service.exposed:
            yield Check("exposed", "ok", f"{component} listens on {address}, port {port}, as its settings accept")
            continue
        block = f"a firewall can block it, such as: sudo iptables -I INPUT ! -i lo -p tcp --dport {port} -j DROP"
        accept = f"; accept it: orienter.services.{component}.exposed: true" if service is not None else ""
        otherwise = f"; where it cannot: {block}{accept}"
        key = f"orienter.services.{component}.command" if component in config.settings.services else "its configuration"
        yield Check(
            "exposed",
            "warning",
            f"{component} listens on {address}, port {port}: other machines can reach it ({found[port, address]})",
            f"make it listen on ${{SERVICE_HOST}} in {key}, then: inv dev.restart -s {component}{otherwise}",
        )
    if found and not wide:
        yield Check("exposed", "ok", "everything of this instance listens on loopback only")


def _addresses(ctx: RunContext, config: InstanceConfig) -> Mapping[tuple[int, str], str]:
    """Return the ports and addresses on which this instance listens, with the process."""
    own = set(config.instance.ports.values()) & _own(ctx, config)
    found = {(listener.port, listener.address): listener.description for listener in listeners(own)}
    for pid in census.take().pids(config.instance):
        found |= {(port, address): describe(pid) for address, port in listening_addresses([pid])}
    return found


def _is_within(address: str, config: InstanceConfig) -> bool:
    return address == config.variables["SERVICE_HOST"] or is_loopback(address)


def _own(ctx: RunContext, config: InstanceConfig) -> set[int]:
    own = listening_ports(census.take().pids(config.instance))
    backends = started_on(ctx)
    if backends:
        own |= set(known(lambda: choice.make(backends, config).bound_ports()) or ())
    return own
