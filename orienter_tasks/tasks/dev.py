"""`inv dev`: this checkout's whole stack, wired from smaller tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks import infra
from orienter_tasks.tasks.env import JSON_HELP, create
from orienter_tasks.tasks.task import call, duration, task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext

SERVICE_HELP = "A component's name; may be given several times. Without: all."


@task()
def announce(ctx: RunContext) -> None:
    """Show where this instance's page, database, bucket and logs are."""
    from orienter_tasks.commands import status as show

    show.announce(ctx)


@task(dry="attach")
def attach(ctx: RunContext) -> None:
    """Follow the logs of this running instance; Ctrl-C stops it."""
    from orienter_tasks.commands.attach import attach as follow

    if not ctx.options.detach:
        follow(ctx)


@task(
    default=True,
    pre=[create, call(infra.up, wait=False)],
    post=[announce, attach],
    help={
        "enable-whatsapp": "Connect to WhatsApp from here; only one instance on the machine may.",
        "no-whatsapp": "Leave WhatsApp out.",
        "no-slack": "Leave the Slack bot out.",
        "fresh": "Stop first and render all files again; data is kept.",
        "detach": "Return once all is ready; everything keeps running.",
        "timeout": "How long each component may take to become ready: 90, 30s, 2m.",
        "backend": "auto, docker or embedded.",
        "quiet": "Print only the answer and errors.",
        "data": "What a new instance begins with: main, empty, or a snapshot.",
    },
    dry="start",
)
def start(ctx: RunContext) -> None:
    """Start this checkout's stack: PostgreSQL, S3, nginx and the services; then follow the logs."""
    from orienter_tasks.commands.start import start_all

    start_all(ctx)


@task(
    help={
        "all": "Every instance of this project, in every checkout.",
        "force": "Give processes one second instead of the usual ten before they are killed.",
        "volumes": "Remove this instance's data too. It asks first.",
        "yes": "Do not ask.",
        "idle": "Only if nobody has used it for that long: 90, 30m, 2h.",
        "dry-run": "Only show what would stop, and with --idle, why the rest would not.",
    },
    dry={"dry_run": True},
    tolerant=True,
)
def stop(
    ctx: RunContext,
    all: bool = False,
    volumes: bool = False,
    yes: bool = False,
    idle: str | None = None,
    dry_run: bool = False,
) -> None:
    """Stop this instance: services first, then the infrastructure. Data stays."""
    from orienter_tasks.commands import dry
    from orienter_tasks.commands.idle import stop_idle
    from orienter_tasks.commands.stop import stop_every, stop_this

    if dry_run:
        ctx.only_look()
    if idle is not None:
        stop_idle(ctx, duration(idle, "--idle"), every=all, volumes=volumes, dry=dry_run)
    elif dry_run:
        dry.stop(ctx, volumes=volumes, every=all)
    elif all:
        stop_every(ctx, volumes=volumes)
    else:
        stop_this(ctx, volumes=volumes, yes=yes)


@task(help={"json": JSON_HELP}, tolerant=True)
def status(ctx: RunContext, json: bool = False) -> None:
    """Show what each component of this instance is doing."""
    from orienter_tasks.commands import status as show

    show.status(ctx, [], as_json=json)


@task(iterable=["service"], help={"json": JSON_HELP, "service": SERVICE_HELP}, tolerant=True)
def why(ctx: RunContext, service: list[str], json: bool = False) -> None:
    """Say in at most twelve lines what is wrong with this instance, the worst first, and what to run next."""
    from orienter_tasks.commands.why import why as explain

    explain(ctx, service, as_json=json)


@task(
    iterable=["service"],
    help={
        "json": JSON_HELP,
        "service": SERVICE_HELP,
        "timeout": "How long to wait: 90, 30s, 2m. Without: until the start, or what starts, has had its time.",
    },
)
def wait(ctx: RunContext, service: list[str], json: bool = False) -> None:
    """Wait until this instance is ready, whoever starts it; exit with the start's code as soon as it has failed."""
    from orienter_tasks.commands.wait import wait as wait_for

    wait_for(ctx, service, as_json=json)


@task(iterable=["service"], help={**infra.LOG_HELP, "service": SERVICE_HELP}, tolerant=True)
def logs(
    ctx: RunContext, service: list[str], follow: bool = True, lines: str = "100", since: str = "", grep: str = ""
) -> None:
    """Show the logs of services and servers, merged."""
    infra.show_logs(ctx, service, follow, lines, since, grep)


@task(pre=[create], iterable=["service"], help={"service": "A component's name; without: all services."}, dry="restart")
def restart(ctx: RunContext, service: list[str]) -> None:
    """Stop components of this instance and start them again; without names: all services."""
    from orienter_tasks.commands import start

    start.restart(ctx, service or list(ctx.settings.services))
