"""Show the logs of components, merged."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from orienter_tasks.commands.names import known_components
from orienter_tasks.machine.signals import until_ctrl_c
from orienter_tasks.processes import census
from orienter_tasks.processes.logfile import limit_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.stack.component import Component

POLL_SECONDS = 0.5


def logs(
    ctx: RunContext, names: Sequence[str], *, follow: bool | None, lines: int, since: float | None, grep: str
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
        with until_ctrl_c():
            stream.follow(lambda: limit_logs(ctx), every=POLL_SECONDS)
    else:
        stream.show()
        limit_logs(ctx)


def limit_logs(ctx: RunContext) -> bool:
    """Keep this instance's logs below their size, unless the run is to change nothing; always True."""
    if not ctx.options.dry:
        instance = ctx.current.instance
        limit_all(instance, ctx.settings.logs, lambda component: bool(census.take().pids(instance, component)))
    return True
