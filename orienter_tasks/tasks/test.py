"""`inv test.*`: check the host's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext

BACKEND_HELP = "auto, docker or embedded: whose nginx, and where the throwaway instances start."


@task(name="all", default=True, help={"backend": BACKEND_HELP, "json": JSON_HELP}, dry="selftest")
def everything(ctx: RunContext, json: bool = False) -> None:
    """Check this repository's settings, templates and .env, and start two throwaway instances."""
    _run(ctx, ("env", "templates", "integration"), as_json=json)


@task(help={"json": JSON_HELP})
def env(ctx: RunContext, json: bool = False) -> None:
    """Check ports, names and variables of every id: none meet, and computing twice gives the same."""
    _run(ctx, ("env",), as_json=json)


@task(help={"backend": BACKEND_HELP, "json": JSON_HELP}, dry="selftest")
def templates(ctx: RunContext, json: bool = False) -> None:
    """Check that every template renders for every id, nginx accepts it, and the compose file agrees."""
    _run(ctx, ("templates",), as_json=json)


@task(help={"backend": BACKEND_HELP, "json": JSON_HELP}, dry="selftest")
def integration(ctx: RunContext, json: bool = False) -> None:
    """Start two throwaway instances side by side, prove that neither sees the other's data, and leave nothing."""
    _run(ctx, ("integration",), as_json=json)


@task(
    iterable=["service"],
    help={
        "service": "A service to start too, with what it needs; may be given several times. Without: none.",
        "data": "What it begins with: empty (the default), main, or a snapshot.",
        "backend": BACKEND_HELP,
        "timeout": "How long each component may take to become ready: 90, 30s, 2m.",
        "quiet": "Print errors only.",
    },
    dry="run",
    words=True,
)
def run(ctx: RunContext, service: list[str]) -> None:
    """Run a command in a throwaway instance of its own, and exit with its code: inv test.run -- CMD…."""
    from orienter_tasks.commands.run import run as run_there

    run_there(ctx, service)


def _run(ctx: RunContext, groups: Sequence[str], *, as_json: bool) -> None:
    from orienter_tasks.commands.selftest.command import run
    from orienter_tasks.tasks.config_files import parse_yaml

    run(ctx, groups, parse_yaml, as_json=as_json)
