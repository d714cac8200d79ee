"""`inv data.adopt`: this checkout takes over the instance of a checkout that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.identity.resolve import parse_id

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


def take_over(ctx: RunContext, text: str) -> None:
    number = parse_id(text, ctx.settings.instances.max, "data.adopt")
    claim = ctx.adopt(number)
    was = claim.former_roots[-1] if claim.former_roots else claim.root
    ctx.report.note(f"this checkout is {ctx.current.instance} now, with what {was} left; start it with: inv dev")
