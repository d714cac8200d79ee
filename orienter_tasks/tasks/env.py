"""`inv env.*`: this instance's variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.task import call, task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext

JSON_HELP = "Print one JSON document instead."


@task(help={"complete": "Add what an existing .env lacks (--no-complete: leave it as it is)."}, dry="init")
def init(ctx: RunContext, complete: bool = True) -> None:
    """Make .env if there is none, from the main checkout's or .env.example; else add the keys that it lacks."""
    from orienter_tasks.commands import env

    env.init(ctx, complete=complete)


@task(positional=("shell",), help={"shell": "One of bash, zsh, fish."}, dry="hook")
def hook(ctx: RunContext, shell: str) -> None:
    """Print a hook that keeps the variables of a shell current: bash, zsh or fish."""
    from orienter_tasks.commands import hook

    ctx.report.document(hook.script(shell))


create = call(init, complete=False)
"""What starts do first."""


@task(help={"json": JSON_HELP, "reveal": "Show secrets unmasked."})
def show(ctx: RunContext, json: bool = False, reveal: bool = False) -> None:
    """Show this instance: id, ports, names, directories and variables."""
    from orienter_tasks.commands import env

    env.show(ctx, as_json=json, reveal=reveal)


@task(pre=[create], help={"format": "One of sh, fish, dotenv, json."})
def export(ctx: RunContext, format: str = "sh") -> None:
    """Print the variables for a shell: eval "$(inv env.export)"."""
    from orienter_tasks.commands import env

    env.export(ctx, format)


@task(pre=[create], name="exec", dry="execute", words=True)
def exec_(ctx: RunContext) -> None:
    """Run a command with this instance's variables: inv env.exec -- CMD…."""
    from orienter_tasks.commands import env

    env.execute(ctx)
