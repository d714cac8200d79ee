"""All infrastructure components: the built-in ones, and those that a host registers in its tasks.py."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from orienter_tasks.settings import catalog
from orienter_tasks.settings.catalog import MINIO, NGINX, POSTGRES, CatalogEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.infra.component import InfraComponent

_makers: dict[str, Callable[[], InfraComponent]] = {}


def register(entry: CatalogEntry, make: Callable[[], InfraComponent]) -> None:
    """Add a component to the infrastructure of every instance, in place of a former one of its name.

    Args:
        entry: its facts.
        make: makes what answers for it, such as its class; called when it is first needed.

    Raises:
        ValueError: one of its names is another component's.
    """
    catalog.add(entry)
    _makers[entry.name] = make
    component.cache_clear()


@cache
def component(name: str) -> InfraComponent:
    """Return what answers for a component of the catalog."""
    return _makers[name]()


def containers(config: InstanceConfig, placed: Callable[[], Placement]) -> list[ContainerSpec]:
    """Describe the containers of an instance."""
    return [component(name).container(config, placed) for name in config.instance.infra]


def _postgres() -> InfraComponent:
    from orienter_tasks.infra.postgres import PostgresComponent

    return PostgresComponent()


def _s3() -> InfraComponent:
    from orienter_tasks.infra.s3 import StorageComponent

    return StorageComponent()


def _nginx() -> InfraComponent:
    from orienter_tasks.infra.nginx import NginxComponent

    return NginxComponent()


register(POSTGRES, _postgres)
register(MINIO, _s3)
register(NGINX, _nginx)
