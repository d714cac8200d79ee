"""`inv env.*`: this instance's variables."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import InstanceContext

JSON_HELP = "Print one JSON document instead."


@task()
def init(ctx: InstanceContext) -> None:
    """Make .env if there is none: a copy of the main checkout's, or of .env.example with generated secrets."""
    from orienter_tasks.instance.dotenv import create
    from orienter_tasks.machine import worktree

    new = create(worktree.read(ctx.root))
    if new is None:
        return
    ctx.forget_dotenv()
    made = f", with generated {', '.join(new.generated)}" if new.generated else ""
    ctx.report.note(f".env: {new.source}{made}")


@task(help={"json": JSON_HELP, "reveal": "Show secrets as they are."})
def show(ctx: InstanceContext, json: bool = False, reveal: bool = False) -> None:
    """Show this instance: id, ports, names, directories and variables."""
    from orienter_tasks.commands import env

    env.show(ctx, as_json=json, reveal=reveal)


@task(pre=[init], help={"format": "One of sh, fish, dotenv, json."})
def export(ctx: InstanceContext, format: str = "sh") -> None:
    """Print the variables for a shell: eval "$(inv env.export)"."""
    from orienter_tasks.instance.export import FORMATS, render
    from orienter_tasks.settings.rules import nearest

    known = next((known for known in FORMATS if known == format), None)
    if known is None:
        raise ConfigError(f"--format: {format!r} is no format", hint=nearest(format, FORMATS))
    ctx.report.answer(render(ctx.variables.values, known))


@task(pre=[init], name="exec")
def exec_(ctx: InstanceContext) -> None:
    """Run a command with this instance's variables: inv env.exec -- CMD…."""
    command = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if not command:
        raise ConfigError("there is no command", hint="write it behind two dashes: inv env.exec -- psql")
    environ = ctx.variables.over(os.environ)
    try:
        os.execvpe(command[0], command, environ)  # noqa: S606 - the user's own command, without a shell
    except OSError as error:
        raise NotFoundError(f"{command[0]!r} cannot be run: {error.strerror}") from error
