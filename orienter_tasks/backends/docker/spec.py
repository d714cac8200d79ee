"""The containers of an instance, as data: both the SDK calls and the compose file are made from these."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orienter_tasks.instance.model import LABEL_COMPONENT
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.protocol import InstanceConfig


@dataclass(frozen=True)
class Port:
    """A port of the container, published on this machine's loopback address."""

    host: int
    container: int
    address: str = LOOPBACK


@dataclass(frozen=True)
class Mount:
    """A named volume or a directory of this machine, inside the container.

    Attributes:
        kind: which of the two.
        source: the volume's name or the directory's path.
        target: the path inside.
        mode: `rw`, or `ro` with `z`, which lets a container read it on systems with SELinux.
    """

    kind: Literal["volume", "bind"]
    source: str
    target: str
    mode: str = "rw"

    def __str__(self) -> str:
        return f"{self.source}:{self.target}:{self.mode}"


@dataclass(frozen=True)
class Health:
    """Docker's own health check, in seconds. Readiness does not wait for it: it is too slow."""

    test: tuple[str, ...]
    interval: int = 10
    timeout: int = 5
    retries: int = 5
    start_period: int = 30


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """One container.

    Attributes:
        component: its name in the catalog.
        name: the container's name.
        image: its image.
        image_key: the key of the settings that names the image.
        labels: what marks it as ours.
        network: the instance's network; "" for the machine's own network.
        environment: holds secrets.
        entrypoint: empty: the image's.
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
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of everything that Docker is told about the container."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def common_fields(config: InstanceConfig, component: str) -> dict[str, Any]:
    """Return the fields of a ContainerSpec that follow from the component alone."""
    docker = config.settings.docker
    return {
        "component": component,
        "name": config.instance.container(component),
        "image": docker.image(component),
        "image_key": f"orienter.docker.{component}" if hasattr(docker, component) else f"the entry of {component}",
        "labels": {**config.instance.labels, LABEL_COMPONENT: component},
        "log_max_size": docker.log_max_size,
        "log_max_file": docker.log_max_file,
    }


def http_health(address: str, otherwise: str = "") -> Health:
    """Return a health check by HTTP; `otherwise` is for images without curl, in place of wget."""
    url = f"http://{LOOPBACK}:{address}"
    return Health(("CMD-SHELL", f"curl -fsS {url} >/dev/null || {otherwise or f'wget -q -O /dev/null {url}'}"))
