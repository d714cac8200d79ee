"""Labels: what is ours, and what makes compose's own commands see it too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import ConflictError
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
    return {**spec.labels, LABEL_CONFIG: spec.digest}


def of_volume(instance: Instance, component: str) -> dict[str, str]:
    return {**instance.labels, LABEL_COMPONENT: component}


def of_compose(instance: Instance, **kind: str) -> dict[str, str]:
    """Return the labels by which compose knows a thing: `kind` is `service`, `network` or `volume`, and its key.

    Compose adds these by itself to what it makes, so they are not written into its file.
    """
    return {f"{COMPOSE}.project": instance.compose_project, **{f"{COMPOSE}.{name}": key for name, key in kind.items()}}


def of_compose_container(instance: Instance, spec: ContainerSpec) -> dict[str, str]:
    return {
        **of_compose(instance, service=spec.component, oneoff="False"),
        f"{COMPOSE}.container-number": "1",
        f"{COMPOSE}.config-hash": spec.digest,  # without one compose does not list it
        f"{COMPOSE}.project.working_dir": str(instance.root),
    }


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


def require_ours(kind: str, name: str, found: Mapping[str, str] | None, config: InstanceConfig) -> None:
    """Refuse to touch what has our name but not our labels.

    Raises:
        ConflictError: naming it and whose it is.
    """
    if not is_ours(found, config):
        raise ConflictError(
            f"{config.instance} needs the name {name}, but that Docker {kind} is not its own: {owner(found)}",
            hint=f"look with: docker {kind} inspect {name}; rename or remove it yourself, or set AI_INSTANCE_ID=N",
        )


def owner(found: Mapping[str, str] | None) -> str:
    """Say in a few words whose something is."""
    found = found or {}
    if LABEL_PROJECT in found:
        return f"instance {found.get(LABEL_INSTANCE)} of {found.get(LABEL_ROOT)}"
    project = found.get(f"{COMPOSE}.project")
    return f"compose project {project}" if project else "not made by this tool"
