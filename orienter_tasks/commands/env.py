"""Show an instance's id, names and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.instance.variables import masked
from orienter_tasks.machine import worktree
from orienter_tasks.output.tables import Column

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import InstanceContext


def show(ctx: InstanceContext, *, as_json: bool, reveal: bool) -> None:
    """Show this instance; secrets are masked unless they are to be revealed."""
    variables, instance = ctx.variables, ctx.instance
    shown = {name: value if reveal else masked(name, value) for name, value in sorted(variables.values.items())}
    branch = worktree.branch(instance.root)
    if as_json:
        ctx.report.json(
            {
                "id": instance.id,
                "source": ctx.identity.source,
                "project": instance.project,
                "worktree": instance.worktree,
                "root": str(instance.root),
                "branch": branch,
                "url": instance.url,
                "backend": ctx.claim.backend,
                "variables": shown,
                "origins": dict(variables.origins),
                "ignored": sorted(variables.ignored),
            }
        )
        return
    ctx.report.box(
        f"instance {instance.id}",
        [
            ("page", instance.url),
            ("checkout", str(instance.root)),
            ("id from", ctx.identity.source),
            ("branch", branch or "–"),
            ("backend", ctx.claim.backend or "not started yet"),
        ],
    )
    columns: tuple[Column[str], ...] = (
        Column("variable", str),
        Column("value", shown.__getitem__),
        Column("from", lambda name: variables.origins.get(name, "")),
    )
    ctx.report.table(columns, list(shown))
    for name in sorted(variables.ignored):
        ctx.report.warn(f".env sets {name}, but it is derived from the instance's id: that line is ignored")
