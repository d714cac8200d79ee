"""`inv nginx.*`: this instance's reverse proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.tasks.env import create
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import RunContext


@task(pre=[create], dry="nginx_render")
def render(ctx: RunContext) -> None:
    """Bring nginx's configuration up to date: render, check with the real nginx, swap, reload if it runs."""
    from orienter_tasks.commands import nginx

    nginx.render(ctx)


@task(pre=[create], dry="nginx_check")
def check(ctx: RunContext) -> None:
    """Render the configuration aside and let the real nginx test it; what runs stays as it is."""
    from orienter_tasks.commands import nginx

    nginx.check(ctx)


@task(pre=[create], dry="nginx_reload")
def reload(ctx: RunContext) -> None:
    """Check the configuration again and make the running nginx take it over."""
    from orienter_tasks.commands import nginx

    nginx.reload(ctx)
