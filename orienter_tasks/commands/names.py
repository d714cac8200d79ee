"""Which components the user means by the names on the command line, whether they run; and the names of a page."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.settings.rules import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext


def known_components(ctx: RunContext, names: Sequence[str], *, hooks: bool = True) -> list[str]:
    """Require that every name is a component of this instance."""
    of_hooks = [hook.name for hook in ctx.settings.all_hooks] if hooks else []
    return _known(names, [*ctx.settings.servers, *of_hooks, *ctx.settings.services])


def known_services(ctx: RunContext, names: Sequence[str]) -> list[str]:
    """Require that every name is a service of the settings."""
    return _known(names, list(ctx.settings.services))


def require_running(ctx: RunContext, name: str) -> InstanceConfig:
    """Return the instance's configuration; NotFoundError where a server of it does not run."""
    ctx.read_pipe()  # its passwords will be used
    current = ctx.current
    if name not in current.instance.infra:
        raise NotFoundError(f"{current.instance} has no {name}", hint=f"the settings drop it: orienter.infra.{name}")
    if not any(status.up for status in current.backend.status() if status.name == name):
        raise NotFoundError(f"{name} of {current.instance} does not run", hint="start it with: inv infra.up")
    return current.config


def pages(instance: Instance) -> list[tuple[str, str]]:
    """Return the addresses of the page, and what to call them; Safari resolves no `*.localhost`."""
    both = sys.platform == "darwin" and instance.host_url != instance.url
    return [("page", instance.host_url), *([("in Safari", instance.url)] if both else [])]


def _known(names: Sequence[str], known: Sequence[str]) -> list[str]:
    for name in names:
        if name not in known:
            raise ConfigError(f"-s {name}: there is no such component", hint=nearest(name, known))
    return list(names)
