"""Where nginx runs: on the host's network or bridged, and how it reaches the host's services from there.

A bridged container reaches loopback services only through Docker Desktop's `host.docker.internal`. On a native Linux
engine that name is the bridge's address, where no loopback service listens: there nginx uses the host's network.
Rootless Docker has a network of its own, where no service listens, and calls it the host's; Podman's is this machine's.
Podman has its default bridge only while a container uses it, and if it is rootless, not on this machine.
"""

from __future__ import annotations

import ipaddress
import platform
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orienter_tasks.errors import BackendError, CheckError
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orienter_tasks.backends.docker.engine import Engine, EngineFacts

Choice = Literal["auto", "bridge", "host"]
HOST_NAME = "host.docker.internal"
HOST_GATEWAY = "host-gateway"


class Placement(msgspec.Struct, frozen=True):
    """Where nginx runs.

    Attributes:
        on_host: on the host's network.
        service_host: the address where services must listen for nginx to reach them.
        gateway: if bridged, what `host.docker.internal` stands for.
    """

    on_host: bool
    service_host: str = LOOPBACK
    gateway: str = ""

    @property
    def upstream(self) -> str:
        return LOOPBACK if self.on_host else HOST_NAME

    @property
    def extra_hosts(self) -> dict[str, str]:
        return {} if self.on_host else {HOST_NAME: self.gateway}


ON_HOST = Placement(on_host=True)
BRIDGED = Placement(on_host=False, gateway=HOST_GATEWAY)


def decide(choice: Choice, facts: EngineFacts, bridge_address: Callable[[], str]) -> Placement:
    """Decide by the setting `nginx.network` and the kind of engine."""
    if not facts.native:
        return ON_HOST if choice == "host" else BRIDGED
    if facts.is_apart:
        raise BackendError(
            "the Docker engine is rootless: its nginx cannot reach services on this machine's loopback",
            hint="let nginx run without it: pip install 'orienter-tasks[embedded]', and set "
            "orienter.infra.nginx.backend: embedded",
        )
    if choice == "bridge" and facts.product == "Podman":
        raise BackendError(
            "the engine is Podman: services cannot listen on its bridge", hint="set orienter.nginx.network to auto"
        )
    if choice == "bridge":
        address = bridge_address()
        return Placement(on_host=False, service_host=address, gateway=address)
    return ON_HOST


def of(engine: Engine, choice: Choice) -> Placement:
    def bridge_address() -> str:
        with engine.talking("describe its default bridge"):
            return address_of(engine.reader.inspect_network("bridge"))

    return decide(choice, engine.facts, bridge_address)


def likely(choice: Choice) -> Placement:
    """Guess from this machine's system, without an engine."""
    if choice == "auto":
        return ON_HOST if platform.system() == "Linux" else BRIDGED
    return ON_HOST if choice == "host" else BRIDGED


def service_host(engine: Engine, choice: Choice) -> str:
    """Return the address for services; only bridging on Linux needs the engine to know it."""
    if choice != "bridge" or platform.system() != "Linux":
        return LOOPBACK
    return of(engine, choice).service_host


def address_of(network: Mapping[str, Any]) -> str:
    """Return this machine's address on a bridge network."""
    for pool in network.get("IPAM", {}).get("Config") or ():
        subnet = ipaddress.ip_network(pool["Subnet"], strict=False)
        if subnet.version == 4:  # noqa: PLR2004 - IPv4
            # with a default configuration the engine reports no gateway: it is the first address
            return str(pool.get("Gateway") or next(subnet.hosts()))
    raise CheckError(
        f"Docker's network {network.get('Name')!r} has no IPv4 address", hint="set orienter.nginx.network to host"
    )
