"""`inv nginx.*`: this instance's reverse proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.collections.env import init
from orienter_tasks.collections.tasks import task
from orienter_tasks.errors import NotFoundError

if TYPE_CHECKING:
    from orienter_tasks.context import InstanceContext


@task(pre=[init])
def render(ctx: InstanceContext) -> None:
    """Bring nginx's configuration up to date: render, check with the real nginx, swap, reload if it runs."""
    from orienter_tasks.control.start import bring_nginx_up_to_date

    ctx.begin()
    bring_nginx_up_to_date(ctx)


@task(pre=[init])
def check(ctx: InstanceContext) -> None:
    """Render the configuration aside and let the real nginx test it; what runs stays as it is."""
    from orienter_tasks import nginx

    ctx.begin()
    directory = nginx.check(ctx.site, ctx.backend)
    ctx.report.answer(f"nginx accepts {directory}")


@task(pre=[init])
def reload(ctx: InstanceContext) -> None:
    """Check the configuration again and make the running nginx take it over."""
    from orienter_tasks import nginx

    ctx.begin()
    if not any(standing.running for standing in ctx.backend.standings() if standing.component == "nginx"):
        raise NotFoundError(f"nginx of {ctx.instance} does not run", hint="start it with: inv infra.up")
    nginx.apply(ctx.site, ctx.backend, force=True)
    ctx.report.answer(f"nginx of {ctx.instance} runs with {nginx.config_dir(ctx.instance)}")
