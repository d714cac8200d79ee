"""`inv nginx.*`: this instance's reverse proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.errors import NotFoundError
from orienter_tasks.tasks.env import init
from orienter_tasks.tasks.task import task

if TYPE_CHECKING:
    from orienter_tasks.lifecycle.context import InstanceContext


@task(pre=[init])
def render(ctx: InstanceContext) -> None:
    """Bring nginx's configuration up to date: render, check with the real nginx, swap, reload if it runs."""
    from orienter_tasks.commands.start import bring_nginx_up_to_date

    ctx.begin()
    bring_nginx_up_to_date(ctx)


@task(pre=[init])
def check(ctx: InstanceContext) -> None:
    """Render the configuration aside and let the real nginx test it; what runs stays as it is."""
    from orienter_tasks.backends.nginx import configuration as nginx

    ctx.begin()
    directory = nginx.check(ctx.config, ctx.backend)
    ctx.report.answer(f"nginx accepts {directory}")


@task(pre=[init])
def reload(ctx: InstanceContext) -> None:
    """Check the configuration again and make the running nginx take it over."""
    from orienter_tasks.backends.nginx.configuration import apply, config_dir

    ctx.begin()
    if not any(standing.running for standing in ctx.backend.standings() if standing.component == "nginx"):
        raise NotFoundError(f"nginx of {ctx.instance} does not run", hint="start it with: inv infra.up")
    apply(ctx.config, ctx.backend, force=True)
    ctx.report.answer(f"nginx of {ctx.instance} runs with {config_dir(ctx.instance)}")
