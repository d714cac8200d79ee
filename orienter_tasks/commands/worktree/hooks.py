"""The hooks of a worktree that is made or removed, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.services.hook import HookComponent
from orienter_tasks.settings.model import Hook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.settings.model import WorktreeHook


def run(ctx: RunContext, hooks: Sequence[WorktreeHook]) -> None:
    """Run hooks in a checkout, with its instance's variables; the first that fails ends it.

    Raises:
        OrienterError: one failed; `ctx.undo` ends what still runs.
    """
    if not hooks:
        return
    start, names = ctx.start, [hook.name for hook in hooks]
    start.lock()
    start.show_progress()
    config = ctx.current.config
    start.runner.add(
        HookComponent(
            config,
            Hook(**msgspec.structs.asdict(hook)),
            needs=names[:at],
            exported={},
            printed={},
            generations=dict,
        )
        for at, hook in enumerate(hooks)
    )
    start.runner.wait()
    start.finish()
