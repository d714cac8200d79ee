"""`inv data.*`: whose data it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(positional=["id"], help={"id": "The instance's id, as `inv instances` shows it."}, dry={})
def adopt(ctx: RunContext, id: str) -> None:
    """Take over the id and the data of a checkout that is gone."""
    from orienter_tasks.commands.adopt import take_over

    take_over(ctx, id)
