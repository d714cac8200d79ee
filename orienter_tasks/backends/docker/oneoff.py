"""Run a command with a component's image: in its container if that runs, else in a container made for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import images, locality, survey
from orienter_tasks.backends.docker.container import RUN_SECONDS, create_container, execute
from orienter_tasks.backends.docker.engine import WORK_SECONDS
from orienter_tasks.backends.docker.logs import read_log
from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.stack.component import LogRequest, last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.resources import Resources
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig

OUTPUT_LINES = 50


def run_inside(
    engine: Engine, config: InstanceConfig, component: str, command: Sequence[str]
) -> tuple[int, str] | None:
    """Run a command in a component's container; return its exit code and output, or None if that does not run."""
    container = running_id(engine, config, component)
    if container is None:
        return None
    try:
        return execute(engine, container, command)
    except (NotFoundError, ConflictError):  # it ended meanwhile
        return None


def run_beside(engine: Engine, config: InstanceConfig, resources: Resources, spec: ContainerSpec) -> tuple[int, str]:
    """Run a container to its end and remove it; return its exit code and last lines."""
    images.ensure(engine, spec.image, spec.image_key, lambda _: None)
    needed = bool(spec.network) or not locality.is_known(engine)  # which the network may prove
    try:
        with resources.joining(needed=needed):
            container = create_container(engine, config.instance, spec, one_off=True)
            try:
                with engine.talking(f"run {spec.component}", work=RUN_SECONDS):
                    engine.api.start(container)
                    code = engine.api.wait(container, timeout=RUN_SECONDS)["StatusCode"]
                output = "\n".join(last(read_log(engine, container, LogRequest(lines=OUTPUT_LINES))))
            finally:
                with (
                    contextlib.suppress(NotFoundError),
                    engine.talking(f"remove the container of {spec.component}", work=WORK_SECONDS),
                ):
                    engine.api.remove_container(container, force=True, v=True)
    finally:
        if needed:
            resources.remove_network()
    return int(code), output


def hang_up(engine: Engine, config: InstanceConfig, component: str) -> bool:
    """Send HUP to a component's container; False if it does not run."""
    container = running_id(engine, config, component)
    if container is None:
        return False
    try:
        with engine.talking(f"signal container {config.instance.container(component)}"):
            engine.api.kill(container, signal="HUP")
    except (NotFoundError, ConflictError):  # it ended meanwhile
        return False
    return True


def running_id(engine: Engine, config: InstanceConfig, component: str) -> str | None:
    found = survey.own_container(engine, config, component)
    return str(found["Id"]) if found is not None and found["State"]["Status"] == survey.RUNNING else None
