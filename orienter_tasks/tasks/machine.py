"""`inv instances` and `inv doctor`: what is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(help={"watch": "Redraw the table every two seconds, until Ctrl-C.", "json": JSON_HELP}, tolerant=True)
def instances(ctx: RunContext, watch: bool = False, json: bool = False) -> None:
    """List every instance on this machine with its state, page, services, memory and size on disk."""
    from orienter_tasks.commands.instances import show

    show(ctx, watch=watch, as_json=json)


@task(
    help={
        "fix": "Fix what can be fixed, after asking.",
        "yes": "Do not ask.",
        "json": JSON_HELP,
    },
    dry={"fix": False},
)
def doctor(ctx: RunContext, fix: bool = False, yes: bool = False, json: bool = False) -> None:
    """Check this machine and this checkout; each finding comes with what to do about it."""
    from orienter_tasks.commands.doctor.command import consult

    consult(ctx, fix=fix, yes=yes, as_json=json)
