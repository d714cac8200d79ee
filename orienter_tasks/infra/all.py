"""All infrastructure components: the built-in ones and those that a host registers in its tasks.py."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import MINIO, NGINX, POSTGRES, REDIS, CatalogEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.component import InfraComponent
    from orienter_tasks.infra.copying import Copying
    from orienter_tasks.infra.portable import Portable

_makers: dict[str, Callable[[], InfraComponent]] = {}


def register(entry: CatalogEntry, make: Callable[[], InfraComponent]) -> None:
    """Add a component to the infrastructure of every instance, or replace the component of that name.

    `make`, such as a class, is called when the component is first needed. A name of another component is a ValueError.
    """
    catalog.add(entry)
    _makers[entry.name] = make
    component.cache_clear()


@cache
def component(name: str) -> InfraComponent:
    if name in _makers:
        return _makers[name]()
    from orienter_tasks.infra.described import DescribedComponent

    return DescribedComponent(name)


def copying(name: str) -> Copying:
    """Return how the data of a component is copied; TypeError if it cannot be."""
    found = component(name).copying()
    if found is None:
        raise TypeError(name)
    return found


def portable(name: str) -> Portable:
    """Return how the data of a component travels; TypeError if it cannot."""
    found = component(name).portable()
    if found is None:
        raise TypeError(name)
    return found


def containers(config: InstanceConfig, placed: Callable[[], Placement]) -> list[ContainerSpec]:
    """Describe the containers of an instance; servers that only have a program have none, nor have `native` ones."""
    apart = native(config)
    names = [name for name in config.instance.infra if config.settings.docker.image(name) and name not in apart]
    return [component(name).container(config, placed) for name in names]


def native(config: InstanceConfig) -> list[str]:
    """Name the servers that a mixed instance does not have in Docker."""
    backends = config.backends
    return [name for name in config.instance.infra if backends.others and backends.of(name) == "embedded"]


def search_path(config: InstanceConfig, path: str) -> str:
    """Put the client programs of the instance's native servers at the beginning of a PATH, unless it finds them."""
    for name in config.instance.infra:
        if config.backends.of(name) != "embedded":
            continue
        client = component(name).client(config.settings)
        if client is not None and Path(shutil.which(client.name, path=path) or "").parent != client.parent:
            path = f"{client.parent}{os.pathsep}{path}"
    return path


def _postgres() -> InfraComponent:
    from orienter_tasks.infra.postgres import PostgresComponent

    return PostgresComponent()


def _s3() -> InfraComponent:
    from orienter_tasks.infra.s3 import StorageComponent

    return StorageComponent()


def _redis() -> InfraComponent:
    from orienter_tasks.infra.redis import RedisComponent

    return RedisComponent()


def _nginx() -> InfraComponent:
    from orienter_tasks.infra.nginx import NginxComponent

    return NginxComponent()


register(POSTGRES, _postgres)
register(MINIO, _s3)
register(NGINX, _nginx)
_makers[REDIS.name] = _redis  # it stands in the catalog where the settings add it
