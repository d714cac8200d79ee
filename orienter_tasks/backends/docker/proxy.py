"""nginx in its container: let it check a configuration, make it read one again."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker import images, lookup, streams, survey
from orienter_tasks.backends.docker.creation import create
from orienter_tasks.backends.docker.spec import NGINX_DIR
from orienter_tasks.backends.nginx.configuration import MAIN, config_dir
from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.stack.component import LogRequest

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.resources import Resources
    from orienter_tasks.backends.docker.spec import ContainerSpec
    from orienter_tasks.backends.protocol import InstanceConfig

CHECK_SECONDS = 30
MESSAGE_LINES = 50


def check(config: InstanceConfig, engine: Engine, resources: Resources, spec: ContainerSpec, directory: Path) -> str:
    """Let nginx test the configuration in a directory: in its container when it runs, else in one for just that.

    Returns:
        "" when nginx accepts it, else its message, with this machine's paths.
    """
    inside = f"{NGINX_DIR}/{(directory / MAIN).relative_to(config_dir(config.instance)).as_posix()}"
    test = ("-t", "-q", "-c", inside)
    found = lookup.own_container(engine, config, spec.name)
    message = None
    if found is not None and found["State"]["Status"] == survey.RUNNING:
        message = _in_running(engine, found["Id"], test, inside)
    if message is None:
        message = _in_new(config, engine, resources, replace(spec, command=test, ports=(), component="nginx-check"))
    return message.replace(NGINX_DIR, str(config_dir(config.instance)))


def reload(config: InstanceConfig, engine: Engine) -> bool:
    """Send HUP to a running nginx; False when it does not run."""
    name = config.instance.container("nginx")
    found = lookup.own_container(engine, config, name)
    if found is None or found["State"]["Status"] != survey.RUNNING:
        return False
    try:
        with engine.talking(f"signal container {name}"):
            engine.api.kill(found["Id"], signal="HUP")
    except (NotFoundError, ConflictError):  # it ended meanwhile
        return False
    return True


def _in_running(engine: Engine, container: str, test: tuple[str, ...], inside: str) -> str | None:
    """Test in the running container; None when that does not see the file (its directory was replaced) or ended."""
    try:
        with engine.talking("let nginx check its configuration"):
            started = engine.api.exec_create(container, ["nginx", *test])["Id"]
            output = engine.api.exec_start(started)
            code = engine.api.exec_inspect(started)["ExitCode"]
    except (NotFoundError, ConflictError):
        return None
    message = output.decode("utf-8", "replace").strip()
    if code == 0:
        return ""
    if f'open() "{inside}" failed (2:' in message:
        return None
    return message or f"nginx -t exits with {code}"


def _in_new(config: InstanceConfig, engine: Engine, resources: Resources, spec: ContainerSpec) -> str:
    images.ensure(engine, spec.image, spec.image_key, _silent)
    if spec.network:
        resources.ensure_network()
    container = create(engine, config.instance, spec, one_off=True)
    try:
        with engine.talking("let nginx check its configuration"):
            engine.api.start(container)
            code = engine.api.wait(container, timeout=CHECK_SECONDS)["StatusCode"]
        output = list(streams.read(engine, container, LogRequest(lines=MESSAGE_LINES)))
    finally:
        with contextlib.suppress(NotFoundError), engine.talking("remove the container that checked"):
            engine.api.remove_container(container, force=True, v=True)
        if spec.network:
            resources.remove_network()
    return "" if code == 0 else "\n".join(output) or f"nginx -t exits with {code}"


def _silent(text: str) -> None:
    """Checking a configuration has no progress to tell."""
