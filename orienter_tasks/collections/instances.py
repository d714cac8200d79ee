"""`inv instances`: every instance of this user on this machine, from any directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.collections.env import JSON_HELP
from orienter_tasks.collections.tasks import task

if TYPE_CHECKING:
    from orienter_tasks import inventory
    from orienter_tasks.context import InstanceContext

DROPPABLE = ("last used", "backend", "memory", "branch", "up")
COLUMNS = ("id", "worktree", "branch", "state", "url", "backend", "services", "memory", "up", "last used")


@task(help={"json": JSON_HELP})
def instances(ctx: InstanceContext, json: bool = False) -> None:
    """List every instance on this machine with its state, page and memory."""
    from orienter_tasks import inventory

    found = inventory.take(ctx.claims.read())
    for unseen in found.unseen:
        ctx.report.warn(f"not seen: {unseen}")
    if json:
        documents = [inventory.as_document(one) for one in found.instances]
        ctx.report.json({"instances": documents, "unseen": list(found.unseen)})
        return
    if not found.instances:
        ctx.report.note("no checkout has an instance yet; start one with: inv dev")
        return
    several = len({one.instance.project for one in found.instances}) > 1
    ctx.report.table(COLUMNS, [_row(one, several=several) for one in found.instances], droppable=DROPPABLE)


def _row(one: inventory.Found, *, several: bool) -> list[str]:
    from orienter_tasks import inventory

    up = sum(part.running for part in one.services)
    failed = [part.name for part in one.parts if not part.running] if one.state == "partial" else []
    instance = one.instance
    return [
        f"{instance.project}/{instance.id}" if several else str(instance.id),
        instance.worktree,
        one.branch or "–",
        f"{one.state}, {', '.join(failed)} failed" if failed else one.state,
        instance.url,
        one.backend or "–",
        f"{up}/{len(one.services)}" if one.services else "–",
        inventory.megabytes(one.memory),
        inventory.ago(one.since) or "–",
        f"{inventory.ago(one.used_at)} ago",
    ]
