"""`inv agents.*`: what coding agents should know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(help={"write": "Write it: below .claude/skills if there is .claude, else as a section of AGENTS.md."})
def skill(ctx: RunContext, write: bool = False) -> None:
    """Print what tells a coding agent how to use this repository's instances; or write it where agents look."""
    from orienter_tasks.commands.agents import skill as tell

    tell(ctx, write=write)
