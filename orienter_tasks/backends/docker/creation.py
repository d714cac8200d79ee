"""Make a container from its specification: the one place where a specification becomes SDK calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.backends.docker import labels

if TYPE_CHECKING:
    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.instance.model import Instance

NANOSECONDS = 1_000_000_000
HOST_NETWORK = "host"
LOG_DRIVER = "json-file"


def create(engine: Engine, instance: Instance, spec: ContainerSpec, *, one_off: bool = False) -> str:
    """Create a container, not started yet, and return its id.

    Args:
        engine: where.
        instance: whose.
        spec: what.
        one_off: without a name, and hidden from compose: it does one thing and is removed.

    Raises:
        ConflictError: the name is taken.
    """
    from docker.types import LogConfig

    api: Any = engine.api  # its stubs have the networking configuration wrong
    health = spec.health
    limits = {"max-size": spec.log_max_size, "max-file": str(spec.log_max_file)}
    own = labels.of_container(spec)
    with engine.talking(f"create container {spec.name}"):
        created = api.create_container(
            spec.image,
            name=None if one_off else spec.name,
            entrypoint=list(spec.entrypoint) or None,
            command=list(spec.command) or None,
            environment=dict(spec.environment),
            ports=[(port.container, "tcp") for port in spec.ports],
            labels=own if one_off else {**own, **labels.compose_container(instance, spec)},
            healthcheck={
                "test": list(health.test),
                "interval": health.interval * NANOSECONDS,
                "timeout": health.timeout * NANOSECONDS,
                "retries": health.retries,
                "start_period": health.start_period * NANOSECONDS,
            },
            host_config=api.create_host_config(
                network_mode=spec.network or HOST_NETWORK,
                port_bindings={port.container: (port.address, port.host) for port in spec.ports},
                binds=[str(mount) for mount in spec.mounts],
                extra_hosts=dict(spec.extra_hosts),
                log_config=LogConfig(type=LOG_DRIVER, config=limits),
                restart_policy={"Name": "no"},
            ),
            networking_config=api.create_networking_config(
                {spec.network: api.create_endpoint_config(aliases=[spec.component])}
            )
            if spec.network
            else None,
            use_config_proxy=False,
        )
    return str(created["Id"])
