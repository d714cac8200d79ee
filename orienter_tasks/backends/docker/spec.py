"""The containers of an instance, as data: both the SDK calls and the compose file are made from these."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from orienter_tasks.backends.nginx.configuration import MAIN, config_dir
from orienter_tasks.errors import ConfigError
from orienter_tasks.instance.model import LABEL_COMPONENT
from orienter_tasks.machine.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.protocol import InstanceConfig

NGINX_DIR = "/etc/nginx/orienter"
POSTGRES_DATA = "/var/lib/postgresql/data"
BRIDGED_PORT = 80


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
        component: postgres, minio or nginx.
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


def postgres(config: InstanceConfig) -> ContainerSpec:
    """Describe PostgreSQL."""
    variables = config.variables
    user, database = variables["POSTGRES_USER"], variables["POSTGRES_DB"]
    return ContainerSpec(
        **_common(config, "postgres"),
        image=config.settings.docker.postgres,
        network=config.instance.network,
        environment={
            "POSTGRES_USER": user,
            "POSTGRES_PASSWORD": variables["POSTGRES_PASSWORD"],
            "POSTGRES_DB": database,
            "PGDATA": POSTGRES_DATA,  # from 18 on, the image's own is elsewhere
        },
        ports=(Port(config.instance.ports["postgres"], 5432),),
        mounts=(Mount("volume", config.instance.volume("postgres"), POSTGRES_DATA),),
        # over TCP: while the database is made, a temporary server answers on the unix socket
        health=Health(("CMD", "pg_isready", "-q", "-h", LOOPBACK, "-U", user, "-d", database)),
    )


def minio(config: InstanceConfig) -> ContainerSpec:
    """Describe the S3 store."""
    variables, ports = config.variables, config.instance.ports
    return ContainerSpec(
        **_common(config, "minio"),
        image=config.settings.docker.minio,
        network=config.instance.network,
        environment={
            "MINIO_ROOT_USER": variables["MINIO_ROOT_USER"],
            "MINIO_ROOT_PASSWORD": variables["MINIO_ROOT_PASSWORD"],
            "MINIO_REGION": variables["AWS_REGION"],
        },
        ports=(Port(ports["minio_api"], 9000), Port(ports["minio_console"], 9001)),
        mounts=(Mount("volume", config.instance.volume("minio"), "/data"),),
        command=("server", "/data", "--console-address", ":9001"),
        # not every release of the image has curl
        health=_answers("9000/minio/health/live", otherwise="mc ready local"),
    )


def nginx(config: InstanceConfig, placement: Placement) -> ContainerSpec:
    """Describe nginx, with the directory of its configuration.

    Raises:
        ConfigError: Docker cannot mount a path with a colon.
    """
    directory, port = str(config_dir(config.instance)), config.instance.ports["nginx"]
    if ":" in directory:
        raise ConfigError(f"{config.instance}: Docker cannot mount {directory}", hint="take the colon out of its path")
    return ContainerSpec(
        **_common(config, "nginx"),
        image=config.settings.docker.nginx,
        network="" if placement.on_host else config.instance.network,
        ports=() if placement.on_host else (Port(port, BRIDGED_PORT),),
        mounts=(Mount("bind", directory, NGINX_DIR, mode="ro,z"),),
        extra_hosts=placement.extra_hosts,
        entrypoint=("nginx",),
        command=("-c", f"{NGINX_DIR}/{MAIN}", "-g", "daemon off;"),
        health=_answers(f"{port if placement.on_host else BRIDGED_PORT}/health"),
    )


def all_specs(config: InstanceConfig, placement: Placement) -> tuple[ContainerSpec, ...]:
    """Describe the three containers of an instance."""
    return postgres(config), minio(config), nginx(config, placement)


def _common(config: InstanceConfig, component: str) -> dict[str, Any]:
    return {
        "component": component,
        "name": config.instance.container(component),
        "image_key": f"orienter.docker.{component}",
        "labels": {**config.instance.labels, LABEL_COMPONENT: component},
        "log_max_size": config.settings.docker.log_max_size,
        "log_max_file": config.settings.docker.log_max_file,
    }


def _answers(address: str, otherwise: str = "") -> Health:
    url = f"http://{LOOPBACK}:{address}"
    return Health(("CMD-SHELL", f"curl -fsS {url} >/dev/null || {otherwise or f'wget -q -O /dev/null {url}'}"))
