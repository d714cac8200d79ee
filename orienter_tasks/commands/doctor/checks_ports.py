"""This instance's ports: who listens on them, and who can be reached from beyond this machine."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding
from orienter_tasks.errors import OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.instance.model import component_of_port, port_plan
from orienter_tasks.machine import ports
from orienter_tasks.processes import census
from orienter_tasks.processes.describe import describe
from orienter_tasks.processes.listeners import listeners, listening_addresses, listening_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.doctor.context import Situation


def held(situation: Situation) -> Iterator[Finding]:
    """Say of each port of this instance whether it is free, its own, or a stranger's, who is named."""
    config = situation.config
    if config is None:
        return
    names = {port: name for name, port in config.instance.ports.items()}
    busy = [port for port in names if not ports.is_free(port)]
    own = _own(config, situation)
    strange = [port for port in busy if port not in own]
    if not strange:
        mine = f"{len(busy)} are this instance's own" if busy else "none is in use"
        words = ", ".join(f"{name} {port}" for name, port in config.instance.ports.items())
        yield Finding("ok", "ports", f"{words}: {mine}")
        return
    who = holders(strange, situation)
    for port in strange:
        needed = component_of_port(config.settings, names[port])
        if not needed:
            yield Finding("ok", "ports", f"{port} ({names[port]}) is held by {who[port]}; nothing here uses it")
            continue
        yield Finding(
            "problem",
            "ports",
            f"{port} ({names[port]}) of {config.instance} is held by {who[port]}",
            f"end that, or: {_elsewhere(situation, config)}",
        )


def exposed(situation: Situation) -> Iterator[Finding]:
    """Name what of this instance listens on more than the loopback address."""
    config = situation.config
    if config is None:
        return
    allowed = {config.variables["SERVICE_HOST"]}
    names = {port: name for name, port in config.instance.ports.items()}
    own = _own(config, situation)
    found: dict[tuple[int, str], str] = {}
    for pid in census.take().pids(config.instance):
        for address, port in listening_addresses([pid]):
            found[port, address] = describe(pid)
    for listener in listeners(set(names) & own):
        found.setdefault((listener.port, listener.address), listener.description)
    wide = {key: who for key, who in found.items() if not _is_loopback(key[1]) and key[1] not in allowed}
    for (port, address), who in sorted(wide.items()):
        component = component_of_port(config.settings, names.get(port, "")) or names.get(port, "a port of its own")
        key = f"orienter.services.{component}.command" if component in config.settings.services else "its configuration"
        yield Finding(
            "warning",
            "exposed",
            f"{component} listens on {address}, port {port}: other machines can reach it ({who})",
            f"make it listen on ${{SERVICE_HOST}} in {key}, then: inv dev.restart -s {component}",
        )
    if found and not wide:
        yield Finding("ok", "exposed", "everything of this instance listens on loopback only")


def holders(wanted: Sequence[int], situation: Situation) -> Mapping[int, str]:
    """Name who holds each port: an instance where it is one's, else the process."""
    found = dict.fromkeys(wanted, "somebody who cannot be seen")
    for listener in listeners(wanted):
        found[listener.port] = listener.description
    for claim in situation.claims:
        if situation.identity is not None and claim.token == situation.identity.claim.token:
            continue
        for port in set(claim.ports.values()) & set(wanted):
            found[port] = f"instance {claim.id} of {claim.project} in {claim.root}: {found[port]}"
    return found


def free_id(situation: Situation, config: InstanceConfig) -> int | None:
    """Return an id that nobody has claimed and all of whose ports are free."""
    taken = {claim.id for claim in situation.claims if claim.project == config.instance.project}
    claimed = {port for claim in situation.claims for port in claim.ports.values()}
    for number in range(1, config.settings.instances.max + 1):
        plan = set(port_plan(config.settings, number).values())
        if number not in taken and not plan & claimed and all(ports.is_free(port) for port in plan):
            return number
    return None


def _own(config: InstanceConfig, situation: Situation) -> set[int]:
    own = listening_ports(census.take().pids(config.instance))
    if situation.started and situation.identity is not None:
        try:
            own |= set(choice.make(choice.named(situation.identity.claim.backend), config).ports_held())
        except OrienterError:
            return own
    return own


def _elsewhere(situation: Situation, config: InstanceConfig) -> str:
    number = free_id(situation, config)
    return "inv instances" if number is None else f"AI_INSTANCE_ID={number} inv dev (another id has other data)"


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
