"""`inv doctor`: is everything here that the tasks need?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import JSON_HELP
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(
    help={
        "fix": "Do what can be done about the findings, after asking.",
        "yes": "Do not ask.",
        "json": JSON_HELP,
    }
)
def doctor(ctx: RunContext, fix: bool = False, yes: bool = False, json: bool = False) -> None:
    """Check this machine and this checkout; each finding comes with what to do about it."""
    from orienter_tasks.commands.doctor.command import consult

    consult(ctx, fix=fix, yes=yes, as_json=json)
