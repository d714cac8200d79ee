"""`inv test.*`: check the host's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.lifecycle.context import RunContext

BACKEND_HELP = "auto, docker or embedded: whose nginx, and where the throwaway instances start."


@task(name="all", default=True, help={"backend": BACKEND_HELP, "json": JSON_HELP})
def everything(ctx: RunContext, json: bool = False) -> None:
    """Check this repository's settings, templates and .env, and start two throwaway instances."""
    _run(ctx, ("env", "templates", "integration"), as_json=json)


@task(help={"json": JSON_HELP})
def env(ctx: RunContext, json: bool = False) -> None:
    """Check ports, names and variables of every id: none meet, and computing twice gives the same."""
    _run(ctx, ("env",), as_json=json)


@task(help={"backend": BACKEND_HELP, "json": JSON_HELP})
def templates(ctx: RunContext, json: bool = False) -> None:
    """Check that every template renders for every id, nginx accepts it, and the compose file agrees."""
    _run(ctx, ("templates",), as_json=json)


@task(help={"backend": BACKEND_HELP, "json": JSON_HELP})
def integration(ctx: RunContext, json: bool = False) -> None:
    """Start two throwaway instances side by side, prove that neither sees the other's data, and leave nothing."""
    _run(ctx, ("integration",), as_json=json)


def _run(ctx: RunContext, groups: Sequence[str], *, as_json: bool) -> None:
    from orienter_tasks.commands.selftest import command as run

    run.run(ctx, groups, _parse, as_json=as_json)


def _parse(text: str) -> Any:
    """Read YAML with the reader that Invoke brings."""
    from invoke.vendor import yaml

    load: Callable[[str], Any] = yaml.safe_load  # its stubs have no types
    try:
        return load(text)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
