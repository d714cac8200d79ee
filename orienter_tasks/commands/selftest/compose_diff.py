"""Compare a compose file with what `infra.up` creates: containers, ports, volumes, networks and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.errors import CheckError
from orienter_tasks.infra.compose import given
from orienter_tasks.instance.variables import is_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig


def compare(parsed: Any, config: InstanceConfig, placed: Placement, where: str) -> None:
    """Require that a parsed compose file agrees with the specifications.

    Raises:
        CheckError: naming the key that differs.
    """
    if not isinstance(parsed, dict):
        raise CheckError(f"{where} is not a mapping")
    wanted = _wanted(given(config, placed))
    found = dict(_flat(parsed))
    for key, value in _flat(wanted):
        written = value.replace("$", "$$") if isinstance(value, str) else value  # compose reads $$ as $
        if found.get(key) != written:
            shown = ("a secret", "another") if is_secret(key) else (repr(value), repr(found.get(key)))
            raise CheckError(f"{where}: {key} should be {shown[0]}, and is {shown[1]}")
    more = set(parsed.get("services") or {}) - wanted["services"].keys()
    if more:
        raise CheckError(f"{where}: services.{min(more)} is not made by infra.up")


def _wanted(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the compared part of the compose file, from the values that its template gets."""
    instance, volumes = values["instance"], values["volumes"]
    return {
        "name": instance.compose_project,
        "services": {one.component: _service(one, values) for one in values["services"]},
        "networks": {values["network_key"]: {"name": instance.network, "labels": values["network_labels"]}},
        "volumes": {volume["key"]: {"name": volume["name"], "labels": volume["labels"]} for volume in volumes},
    }


def _service(one: ContainerSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    keys = values["volume_keys"]
    return {
        "container_name": one.name,
        "image": one.image,
        "environment": one.environment,
        "ports": [f"{port.address}:{port.host}:{port.container}" for port in one.ports],
        "volumes": [f"{keys.get(mount.source, mount.source)}:{mount.target}:{mount.mode}" for mount in one.mounts],
        "labels": values["labels"][one.component],
        "command": one.command,
        "entrypoint": one.entrypoint,
        **({"shm_size": f"{one.shared_memory}mb"} if one.shared_memory else {}),
        **({"networks": [values["network_key"]]} if one.network else {"network_mode": values["host_network"]}),
    }


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings and lists with their dotted keys; empty ones yield nothing."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{key}[{index}]")
    else:
        yield key, value
