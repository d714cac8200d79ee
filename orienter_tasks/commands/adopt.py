"""`inv data.adopt`: this checkout takes over the instance of a checkout that is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.identity.resolve import parse_id

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


def take_over(ctx: RunContext, text: str) -> None:
    """Make this checkout the instance of that id; under `--dry`, only find out whether it may."""
    claim = ctx.adopt(parse_id(text, ctx.settings.instances.max, "data.adopt"))
    left = f"with what {claim.former_roots[-1] if claim.former_roots else claim.root} left"
    if ctx.options.dry:
        ctx.report.answer(f"would become instance {claim.id}, {left}")
    else:
        ctx.report.note(f"this checkout is {ctx.current.instance} now, {left}; start it with: inv dev")
