"""Compare a compose file with what the SDK is told: the same containers, ports, volumes, networks and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import labels
from orienter_tasks.errors import CheckError
from orienter_tasks.infra.all import containers
from orienter_tasks.instance.variables import is_secret
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig


def compare(parsed: Any, config: InstanceConfig, placed: Placement, where: str) -> None:
    """Require that a parsed compose file says the same as the specifications.

    Raises:
        CheckError: naming the key that differs.
    """
    if not isinstance(parsed, dict):
        raise CheckError(f"{where} is no mapping")
    found = _flat(parsed)
    for key, value in _flat(_wanted(config, placed)).items():
        written = value.replace("$", "$$") if isinstance(value, str) else value  # compose takes $$ for $
        if found.get(key) != written:
            shown = ("a secret", "another") if is_secret(key) else (repr(value), repr(found.get(key)))
            raise CheckError(f"{where}: {key} should be {shown[0]}, and is {shown[1]}")
    services = set(parsed.get("services") or {})
    more = services - {one.component for one in containers(config, lambda: placed)}
    if more:
        raise CheckError(f"{where}: services.{min(more)} is not made by infra.up")


def _wanted(config: InstanceConfig, placed: Placement) -> dict[str, Any]:
    instance = config.instance
    return {
        "name": instance.compose_project,
        "services": {one.component: _service(one, config) for one in containers(config, lambda: placed)},
        "networks": {labels.COMPOSE_NETWORK: {"name": instance.network, "labels": instance.labels}},
        "volumes": {
            labels.volume_key(component): {
                "name": instance.volume(component),
                "labels": labels.of_volume(instance, component),
            }
            for component in catalog.with_data()
        },
    }


def _service(one: ContainerSpec, config: InstanceConfig) -> dict[str, Any]:
    keys = {config.instance.volume(component): labels.volume_key(component) for component in catalog.with_data()}
    mounts = [f"{keys.get(mount.source, mount.source)}:{mount.target}:{mount.mode}" for mount in one.mounts]
    network = {"networks": [labels.COMPOSE_NETWORK]} if one.network else {"network_mode": "host"}
    return {
        "container_name": one.name,
        "image": one.image,
        "environment": dict(one.environment),
        "ports": [f"{port.address}:{port.host}:{port.container}" for port in one.ports],
        "volumes": mounts,
        "labels": labels.of_container(one),
        "command": list(one.command),
        "entrypoint": list(one.entrypoint),
        **network,
    }


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Write nested mappings and lists as one mapping of dotted keys; empty ones leave nothing."""
    if isinstance(value, dict):
        pairs = [(f"{key}.{name}" if key else str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list):
        pairs = [(f"{key}[{index}]", inner) for index, inner in enumerate(value)]
    else:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, inner in pairs:
        flat |= _flat(inner, name)
    return flat
