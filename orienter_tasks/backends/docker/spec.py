"""The containers of an instance as data, from which both the SDK calls and the compose file are made; and labels.

Labels say what is ours, and make compose's own commands see it too.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orienter_tasks.errors import ConflictError
from orienter_tasks.instance.model import LABEL_COMPONENT, LABEL_INSTANCE, LABEL_PROJECT, LABEL_ROOT, LABEL_TOKEN
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.settings.model import Settings

LABEL_GENERATION = "io.orienter.generation"
LABEL_CONFIG = "io.orienter.config"
"""A digest of a container's configuration: a container with another digest is replaced."""

COMPOSE = "com.docker.compose"
COMPOSE_NETWORK = "infra"
"""The network's key in the compose file."""


class Port(msgspec.Struct, frozen=True):
    """A port of the container, published on this machine's loopback address."""

    host: int
    container: int
    address: str = LOOPBACK


class Mount(msgspec.Struct, frozen=True):
    """A named volume or a directory of this machine, inside the container.

    With SELinux, a container can read a directory only if the mode has a `z`.
    """

    kind: Literal["volume", "bind"]
    source: str
    target: str
    mode: str = "rw"

    def __str__(self) -> str:
        return f"{self.source}:{self.target}:{self.mode}"


class Health(msgspec.Struct, frozen=True):
    """Docker's own health check, in seconds. Readiness does not wait for it: it is too slow."""

    test: tuple[str, ...]
    interval: int = 10
    timeout: int = 5
    retries: int = 5
    start_period: int = 30


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One container. Its `environment` holds secrets; an empty `entrypoint` is the image's.

    Attributes:
        image_key: the settings key that names the image.
        network: the instance's network; "" for the host's network.
        shared_memory: its /dev/shm, in MB; 0 for the engine's default, 64.
        prelude: a script of the shell that runs in place of the image's own command, which it gets as arguments.
    """

    component: str
    name: str
    image: str
    image_key: str
    labels: Mapping[str, str]
    network: str
    health: Health
    log_max_size: str
    log_max_file: int
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    extra_hosts: Mapping[str, str] = msgspec.field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    shared_memory: int = 0
    prelude: str = ""

    def __repr__(self) -> str:  # without the secrets
        return f"ContainerSpec({self.name!r})"

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(msgspec.to_builtins(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def all_labels(self) -> dict[str, str]:
        return {**self.labels, LABEL_CONFIG: self.digest}


def common_fields(config: InstanceConfig, component: str) -> dict[str, Any]:
    """Return the fields of a ContainerSpec that follow from the component's name."""
    docker = config.settings.docker
    return {
        "component": component,
        "name": config.instance.container(component),
        "image": docker.image(component),
        "image_key": image_key(config.settings, component),
        "labels": component_labels(config.instance, component),
        "log_max_size": docker.log_max_size,
        "log_max_file": docker.log_max_file,
    }


def image_key(settings: Settings, component: str) -> str:
    """Say where the image of a component can be chosen."""
    if hasattr(settings.docker, component):
        return f"orienter.docker.{component}"
    return f"orienter.infra.{component}.image" if component in settings.infra else f"the entry of {component}"


def http_health(address: str, otherwise: str = "") -> Health:
    """Return a health check by HTTP; images without curl use `otherwise`, by default wget."""
    url = f"http://{LOOPBACK}:{address}"
    return Health(("CMD-SHELL", f"curl -fsS {url} >/dev/null || {otherwise or f'wget -q -O /dev/null {url}'}"))


def component_labels(instance: Instance, component: str) -> dict[str, str]:
    return {**instance.labels, LABEL_COMPONENT: component}


def compose_labels(instance: Instance, **kind: str) -> dict[str, str]:
    """Return the labels by which compose finds its things; `kind` is `service`, `network` or `volume`, and its key.

    Compose adds them to what it creates, so they are not written into its file.
    """
    return {f"{COMPOSE}.project": instance.compose_project, **{f"{COMPOSE}.{name}": key for name, key in kind.items()}}


def volume_key(component: str) -> str:
    """Return a volume's key in the compose file."""
    return f"{component}-data"


def is_ours(found: Mapping[str, str] | None, config: InstanceConfig) -> bool:
    """Whether labels are this instance's own, of this checkout or from before it was moved."""
    found = found or {}
    return config.instance.is_marked_by(
        project=found.get(LABEL_PROJECT, ""),
        instance=found.get(LABEL_INSTANCE, ""),
        root=found.get(LABEL_ROOT, ""),
        token=found.get(LABEL_TOKEN, ""),
    )


def require_ours(kind: str, name: str, found: Mapping[str, str] | None, config: InstanceConfig) -> None:
    """Refuse to touch what has our name but not our labels."""
    if not is_ours(found, config):
        raise ConflictError(
            f"{config.instance} needs the name {name}, but that Docker {kind} is not its own: {owner(found)}",
            hint=f"see: docker {kind} inspect {name}; rename or remove it yourself, or set AI_INSTANCE_ID=N",
        )


def owner(found: Mapping[str, str] | None) -> str:
    """Describe from its labels what something belongs to."""
    found = found or {}
    if LABEL_PROJECT in found:
        return f"instance {found.get(LABEL_INSTANCE)} of {found.get(LABEL_ROOT)}"
    project = found.get(f"{COMPOSE}.project")
    return f"compose project {project}" if project else "not made by this tool"
