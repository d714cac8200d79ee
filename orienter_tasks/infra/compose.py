"""The compose file, rendered from the specifications that the SDK calls are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends import templates
from orienter_tasks.backends.docker.container import HOST_NETWORK, LOG_DRIVER
from orienter_tasks.backends.docker.spec import COMPOSE_NETWORK, component_labels, volume_key
from orienter_tasks.infra.all import containers, native
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from orienter_tasks.backends.docker.placement import Placement
    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.backends.templates import Rendered

TEMPLATE = "docker-compose.infra.yml.j2"
FILE = "docker-compose.infra.yml"


def render(config: InstanceConfig, placement: Placement) -> Rendered:
    """Render the compose file of an instance into DATA_DIR, with mode 0600, since it contains passwords."""
    instance = config.instance
    rendered = templates.render(instance.root, TEMPLATE, instance.data_dir / FILE, given(config, placement))
    return templates.Rendered(rendered.path, rendered.content, mode=0o600)


def given(config: InstanceConfig, placement: Placement) -> dict[str, Any]:
    """Return the variables of the template."""
    instance = config.instance
    specs = containers(config, lambda: placement)
    keeping = [spec.component for spec in specs if catalog.entry_of(spec.component).data]
    return {
        "instance": instance,
        "services": specs,
        "native": native(config),
        "without_image": sorted({*instance.infra} - {spec.component for spec in specs} - {*native(config)}),
        "labels": {spec.component: spec.all_labels for spec in specs},
        "host_network": HOST_NETWORK,
        "log_driver": LOG_DRIVER,
        "network_key": COMPOSE_NETWORK,
        "network_labels": instance.labels,
        "volume_keys": {instance.volume(component): volume_key(component) for component in keeping},
        "volumes": [
            {
                "key": volume_key(component),
                "name": instance.volume(component),
                "labels": component_labels(instance, component),
            }
            for component in keeping
        ],
    }
