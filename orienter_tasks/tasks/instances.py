"""`inv instances`: every instance of this user on this machine, from any directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(help={"watch": "Draw the table anew every two seconds, until Ctrl-C.", "json": JSON_HELP})
def instances(ctx: RunContext, watch: bool = False, json: bool = False) -> None:
    """List every instance on this machine with its state, page, services, memory and size on disk."""
    from orienter_tasks.commands.instances import show

    show(ctx, watch=watch, as_json=json)
