"""What an instance's containers use: networks, mounts, variables. Asked of the engine by exact names and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import labels, survey
from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.commands.verify.native import place
from orienter_tasks.commands.verify.snapshot import Actor, Network, Place
from orienter_tasks.instance.model import LABEL_COMPONENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.protocol import InstanceConfig

HOST_NETWORK = "host"
CARRIED = ("POSTGRES_DB",)


def running(config: InstanceConfig, engine: Engine | None = None) -> list[dict[str, Any]]:
    """Inspect the running containers of an instance."""
    engine = engine or shared()
    instance = config.instance
    found = survey.containers(engine, project=instance.project, instance=str(instance.id))
    inspected = [survey.container(engine, one.id) for one in found if one.running]
    return [one for one in inspected if one is not None and labels.is_ours(one["Config"]["Labels"], config)]


def networks(
    config: InstanceConfig, containers: Sequence[Mapping[str, Any]], engine: Engine | None = None
) -> list[Network]:
    """Describe the networks that containers are on; the machine's own, which has nobody's name, is left out."""
    engine = engine or shared()
    names = {_name(one): list(one["NetworkSettings"]["Networks"]) for one in containers}
    found = []
    for network in sorted({network for joined in names.values() for network in joined} - {HOST_NETWORK}):
        inspected = survey.network(engine, network)
        if inspected is None:
            continue
        own = network == config.instance.network and labels.is_ours(inspected["Labels"], config)
        members = sorted(member["Name"] for member in (inspected["Containers"] or {}).values())
        mine = sorted(name for name, joined in names.items() if network in joined)
        strangers = tuple(name for name in members if name not in names)
        found.append(Network(inspected["Id"], network, own, tuple(members if own else mine), strangers))
    return found


def places(config: InstanceConfig, containers: Sequence[Mapping[str, Any]]) -> list[Place]:
    """Describe the volumes and directories that are mounted."""
    return [found for container in containers for found in _places_of(config, container)]


def actors(config: InstanceConfig, containers: Sequence[Mapping[str, Any]]) -> list[Actor]:
    """Say of each container which of its variables are not the instance's."""
    return [_actor(config, container) for container in containers]


def _places_of(config: InstanceConfig, container: Mapping[str, Any]) -> Iterator[Place]:
    component = container["Config"]["Labels"].get(LABEL_COMPONENT, "")
    for mount in container["Mounts"]:
        if mount["Type"] == "volume":
            own = mount["Name"] == config.instance.volume(component)
            yield Place(component, mount["Name"], f"volume {mount['Name']}", own=own)
        else:
            yield place(component, mount["Source"], config.instance, data=bool(mount["RW"]))


def _actor(config: InstanceConfig, container: Mapping[str, Any]) -> Actor:
    component = container["Config"]["Labels"].get(LABEL_COMPONENT, "")
    environ = dict(word.partition("=")[::2] for word in container["Config"]["Env"] or ())
    wrong = tuple(
        f"{name}={environ[name]}" for name in CARRIED if name in environ and environ[name] != config.variables[name]
    )
    return Actor(container["Id"], component, f"container {_name(container)}", wrong)


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Name"]).lstrip("/")
