"""`inv infra.*`: PostgreSQL, the S3 store and nginx of this instance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError
from orienter_tasks.tasks.env import JSON_HELP, create
from orienter_tasks.tasks.task import count, given, seconds, task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext

LOG_HELP = {
    "follow": "Keep printing new lines, or not (default: on a terminal).",
    "lines": "How many existing lines.",
    "since": "Only lines from the last 30s, 10m, 2h.",
    "grep": "Only lines that match this regular expression.",
}


@task(
    pre=[create],
    help={
        "wait": "Return only once all answer (--no-wait: once all are started).",
        "backend": "auto, docker or embedded.",
        "timeout": "How long each may take to become ready: 90, 30s, 2m.",
        "quiet": "Print errors only.",
        "data": "What a new instance begins with: main, empty, or a snapshot.",
    },
    dry="up",
)
def up(ctx: RunContext, wait: bool = True) -> None:
    """Start PostgreSQL, the S3 store and nginx."""
    from orienter_tasks.commands.env import warn_of_foreign_ports
    from orienter_tasks.commands.start import await_infra, start_infra

    if ctx.options.data or ctx.settings.data.initial != "empty":
        from orienter_tasks.commands.data.replace import first

        first(ctx)
    start_infra(ctx)
    warn_of_foreign_ports(ctx)
    if wait or given("wait"):  # else this is a step of `inv dev`, which waits for everything at once
        await_infra(ctx, ready=wait)


@task(
    help={
        "volumes": "Remove this instance's data too. It asks first.",
        "yes": "Do not ask.",
    },
    dry="down",
    tolerant=True,
)
def down(ctx: RunContext, volumes: bool = False, yes: bool = False) -> None:
    """Stop PostgreSQL, the S3 store and nginx; their data stays unless --volumes."""
    from orienter_tasks.commands.stop import stop_this

    stop_this(ctx, services=False, volumes=volumes, yes=yes)


@task(help={"json": JSON_HELP}, tolerant=True)
def status(ctx: RunContext, json: bool = False) -> None:
    """Show what each server of this instance is doing."""
    from orienter_tasks.commands import status as show
    from orienter_tasks.settings import catalog

    show.status(ctx, catalog.names(), as_json=json)


@task(
    iterable=["service"],
    help={**LOG_HELP, "service": "a server, such as postgres; may be given several times."},
    tolerant=True,
)
def logs(
    ctx: RunContext, service: list[str], follow: bool = True, lines: str = "100", since: str = "", grep: str = ""
) -> None:
    """Show the servers' logs."""
    known = ctx.settings.servers
    names = service or known
    for name in names:
        if name not in known:
            raise ConfigError(f"-s {name}: no such server", hint=f"known: {', '.join(known)}")
    show_logs(ctx, names, follow, lines, since, grep)


def show_logs(ctx: RunContext, names: list[str], follow: bool, lines: str, since: str, grep: str) -> None:
    from orienter_tasks.commands.logs import logs

    asked = follow if given("follow") else None
    logs(ctx, names, follow=asked, lines=count(lines, "--lines"), since=seconds(since, "--since"), grep=grep)


@task(help={"output": "Write to this file instead of stdout."}, dry={"output": ""})
def compose(ctx: RunContext, output: str = "") -> None:
    """Print the compose file that describes the same containers."""
    from orienter_tasks.backends.docker import engine, placement
    from orienter_tasks.infra.compose import render
    from orienter_tasks.machine.state import write_private

    network = ctx.settings.nginx.network
    placed = placement.of(engine.shared(), network) if engine.answers() else placement.likely(network)
    rendered = render(ctx.current.config, placed)
    if not output:
        ctx.report.answer(rendered.content.rstrip("\n"))
        return
    write_private(Path(output), rendered.content)
    ctx.report.note(f"written to {output}")


@task(dry="psql", words=True)
def psql(ctx: RunContext) -> None:
    """Run psql, connected to this instance's database: inv infra.psql -- -c 'SELECT 1'."""
    from orienter_tasks.commands import clients

    clients.psql(ctx)


@task(positional=["verb"], help={"verb": "ls, cp or rm.", "json": f"{JSON_HELP[:-1]} (ls)."}, dry="s3", words=True)
def s3(ctx: RunContext, verb: str, json: bool = False) -> None:
    """List, copy or remove objects of this instance's bucket: inv infra.s3 cp -- logo.png s3:images/."""
    from orienter_tasks.commands import clients

    clients.s3(ctx, verb, as_json=json)


@task(help={"json": JSON_HELP})
def verify(ctx: RunContext, json: bool = False) -> None:
    """Prove that the running instances of this project share no data, network, port or process."""
    from orienter_tasks.commands.verify import command
    from orienter_tasks.tasks.config_files import raw_settings_of

    command.verify(ctx, raw_settings_of, as_json=json)


@task(help={"json": JSON_HELP}, tolerant=True)
def stats(ctx: RunContext, json: bool = False) -> None:
    """Show what each part of this instance takes of memory and CPU; live on a terminal until Ctrl-C."""
    from orienter_tasks.commands.stats import show

    show(ctx, as_json=json)
