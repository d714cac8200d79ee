"""Labels: what is ours, and what makes compose's own commands see it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.instance.model import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance

LABEL_CONFIG = "io.orienter.config"
"""A digest of a container's configuration: another one means that the container is made anew."""

COMPOSE = "com.docker.compose"
COMPOSE_NETWORK = "infra"
"""The network's key in the compose file."""


def of_container(spec: ContainerSpec) -> dict[str, str]:
    """Return the labels of a container, without compose's own."""
    return {**spec.labels, LABEL_CONFIG: spec.digest}


def of_network(instance: Instance) -> dict[str, str]:
    """Return the labels of the network, without compose's own."""
    return dict(instance.labels)


def of_volume(instance: Instance, component: str) -> dict[str, str]:
    """Return the labels of a component's volume, without compose's own."""
    return {**instance.labels, LABEL_COMPONENT: component}


def compose_container(instance: Instance, spec: ContainerSpec) -> dict[str, str]:
    """Return the labels by which compose knows a container."""
    return {
        f"{COMPOSE}.project": instance.compose_project,
        f"{COMPOSE}.service": spec.component,
        f"{COMPOSE}.container-number": "1",
        f"{COMPOSE}.oneoff": "False",
        f"{COMPOSE}.config-hash": spec.digest,  # without one compose does not list it
        f"{COMPOSE}.project.working_dir": str(instance.root),
    }


def compose_network(instance: Instance) -> dict[str, str]:
    """Return the labels by which compose knows the network."""
    return {f"{COMPOSE}.project": instance.compose_project, f"{COMPOSE}.network": COMPOSE_NETWORK}


def compose_volume(instance: Instance, component: str) -> dict[str, str]:
    """Return the labels by which compose knows a volume."""
    return {f"{COMPOSE}.project": instance.compose_project, f"{COMPOSE}.volume": volume_key(component)}


def volume_key(component: str) -> str:
    """Return a volume's key in the compose file."""
    return f"{component}-data"


def is_ours(found: Mapping[str, str] | None, config: InstanceConfig) -> bool:
    """Say whether labels are this instance's own: of this checkout, also from before it was moved."""
    found = found or {}
    return (
        found.get(LABEL_PROJECT) == config.instance.project
        and found.get(LABEL_INSTANCE) == str(config.instance.id)
        and found.get(LABEL_ROOT) in config.instance.roots
    )


def owner(found: Mapping[str, str] | None) -> str:
    """Say in a few words whose something is."""
    found = found or {}
    if LABEL_PROJECT in found:
        return f"instance {found.get(LABEL_INSTANCE)} of {found.get(LABEL_ROOT)}"
    project = found.get(f"{COMPOSE}.project")
    return f"compose project {project}" if project else "not made by this tool"
