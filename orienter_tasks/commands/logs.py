"""Show logs, and stay with an instance until Ctrl-C."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from orienter_tasks.commands.names import known_components
from orienter_tasks.errors import InterruptError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.commands.attach import Attachment
    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.stack.component import Component

POLL_SECONDS = 0.5


def logs(
    ctx: InstanceContext, names: Sequence[str], *, follow: bool | None, lines: int, since: float | None, grep: str
) -> None:
    """Print the logs of components, merged; follow them on a terminal unless told otherwise."""
    from orienter_tasks.output.logstream import LogStream

    chosen = known_components(ctx, names)
    plan = ctx.current.plan
    everything: list[Component] = [*plan.infra, *plan.hooks, *plan.services]
    components = [part for part in everything if not chosen or part.name in chosen]
    after = time.time() - since if since is not None else None
    stream = LogStream(components, lines=lines, since=after, grep=grep)
    if follow if follow is not None else sys.stdout.isatty():
        try:
            stream.follow(lambda: True, every=POLL_SECONDS)
        except KeyboardInterrupt:
            return
    else:
        stream.show()


def attach(ctx: InstanceContext) -> None:
    """Follow the logs until Ctrl-C or a failure, then stop the instance."""
    from orienter_tasks.commands.attach import Attachment

    current = ctx.current
    attachment = Attachment(current.config, current.backend, current.plan.services, ctx.report.warn)
    ctx.report.note("following the logs; Ctrl-C stops this instance")
    _follow(ctx, attachment)


def _follow(ctx: InstanceContext, attachment: Attachment) -> None:
    try:
        attachment.run()
    except BaseException as error:
        ctx.start.end()
        if isinstance(error, KeyboardInterrupt):
            raise InterruptError("stopped by Ctrl-C", expected=True) from None
        raise
    ctx.start.foreground = False
    ctx.report.note(f"{ctx.current.instance} was stopped by another command")
