"""`inv services.*`: the host's own services of this instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP, create
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext

SERVICE_HELP = {"service": "Its name; may be given several times. Without: all."}


@task(pre=[create], iterable=["service"], help=SERVICE_HELP, dry="start_services")
def start(ctx: RunContext, service: list[str]) -> None:
    """Start services; the infrastructure must run already."""
    from orienter_tasks.commands.start import start_services

    start_services(ctx, service)


@task(iterable=["service"], help=SERVICE_HELP, dry="stop_services", tolerant=True)
def stop(ctx: RunContext, service: list[str]) -> None:
    """Stop services with all their child processes; the infrastructure stays."""
    from orienter_tasks.commands.stop import stop_services

    stop_services(ctx, service)


@task(pre=[create], iterable=["service"], help=SERVICE_HELP, dry="restart")
def restart(ctx: RunContext, service: list[str]) -> None:
    """Stop services and start them again."""
    from orienter_tasks.commands import start

    start.restart(ctx, service or list(ctx.settings.services))


@task(iterable=["service"], help={**SERVICE_HELP, "json": JSON_HELP}, tolerant=True)
def status(ctx: RunContext, service: list[str], json: bool = False) -> None:
    """Show what each service of this instance is doing."""
    from orienter_tasks.commands import status as show
    from orienter_tasks.commands.names import known_services

    names = known_services(ctx, service) or list(ctx.settings.services)
    show.status(ctx, names, as_json=json)
