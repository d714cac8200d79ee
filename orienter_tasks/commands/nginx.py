"""This instance's nginx: bring its configuration up to date, check it, make it read it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.backends.nginx.configuration import apply, check as check_configuration
from orienter_tasks.commands.names import require_running
from orienter_tasks.settings.catalog import NGINX

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


def bring_up_to_date(ctx: RunContext) -> None:
    """Render the configuration, let the real nginx check it, swap it in; reload a running nginx."""
    current = ctx.current
    if apply(current.config, current.backend):
        ctx.report.note(f"nginx: configuration written to {current.instance.nginx_dir}")


def render(ctx: RunContext) -> None:
    """Bring the configuration up to date, and start nothing."""
    start = ctx.begin()
    bring_up_to_date(ctx)
    start.finish()


def check(ctx: RunContext) -> None:
    """Render the configuration aside and let the real nginx test it."""
    start, current = ctx.begin(), ctx.current
    directory = check_configuration(current.config, current.backend)
    start.finish()
    ctx.report.answer(f"nginx accepts {directory}")


def reload(ctx: RunContext) -> None:
    """Check the configuration again and reload the running nginx.

    Raises:
        NotFoundError: it does not run.
    """
    start, current = ctx.begin(), ctx.current
    require_running(ctx, NGINX.name)
    apply(current.config, current.backend, force=True)
    start.finish()
    ctx.report.answer(f"nginx of {current.instance} runs with {current.instance.nginx_dir}")
