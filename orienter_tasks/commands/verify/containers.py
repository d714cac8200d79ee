"""What an instance's containers use: networks, mounts, variables; found by exact names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import survey
from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.backends.docker.spec import is_ours
from orienter_tasks.commands.verify.native import location, numbered
from orienter_tasks.commands.verify.snapshot import DataLocation, Network, Workload
from orienter_tasks.instance.model import LABEL_COMPONENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig

HOST_NETWORK = "host"


def running(config: InstanceConfig) -> list[dict[str, Any]]:
    """Inspect the running containers of an instance."""
    engine = shared()
    found = survey.containers_of(engine, config.instance)
    inspected = [survey.container(engine, one.id) for one in found if one.running]
    return [one for one in inspected if one is not None]


def networks(config: InstanceConfig, containers: Sequence[Mapping[str, Any]]) -> list[Network]:
    """Describe the networks that containers are on, except the machine's own."""
    joined = {_name(one): set(one["NetworkSettings"]["Networks"]) for one in containers}
    names = sorted(set().union(*joined.values()) - {HOST_NETWORK})
    inspected = [survey.network(shared(), name) for name in names]
    return [_network(config, one, joined) for one in inspected if one is not None]


def _network(config: InstanceConfig, inspected: Mapping[str, Any], joined: Mapping[str, set[str]]) -> Network:
    name = inspected["Name"]
    own = name == config.instance.network and is_ours(inspected["Labels"], config)
    members = sorted(member["Name"] for member in (inspected["Containers"] or {}).values())
    mine = sorted(member for member, networks in joined.items() if name in networks)
    outsiders = tuple(member for member in members if member not in joined)
    return Network(inspected["Id"], name, own, tuple(members if own else mine), outsiders)


def locations(config: InstanceConfig, containers: Sequence[Mapping[str, Any]]) -> list[DataLocation]:
    """Describe the volumes and directories that are mounted."""
    return [found for container in containers for found in _locations(config, container)]


def _locations(config: InstanceConfig, container: Mapping[str, Any]) -> Iterator[DataLocation]:
    component = container["Config"]["Labels"].get(LABEL_COMPONENT, "")
    for mount in container["Mounts"]:
        if mount["Type"] == "volume":
            own = mount["Name"] == config.instance.volume(component)
            yield DataLocation(component, mount["Name"], f"volume {mount['Name']}", own=own)
        else:
            yield location(component, mount["Source"], config.instance, data=bool(mount["RW"]))


def workloads(config: InstanceConfig, containers: Sequence[Mapping[str, Any]]) -> list[Workload]:
    """Describe each container, with variables that are not the instance's."""
    return [_workload(config, container) for container in containers]


def _workload(config: InstanceConfig, container: Mapping[str, Any]) -> Workload:
    component = container["Config"]["Labels"].get(LABEL_COMPONENT, "")
    environ = dict(word.partition("=")[::2] for word in container["Config"]["Env"] or ())
    carried = {name: environ[name] for name in numbered(config) if name in environ}
    wrong = tuple(f"{name}={value}" for name, value in carried.items() if value != config.variables[name])
    return Workload(container["Id"], component, f"container {_name(container)}", wrong)


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Name"]).lstrip("/")
