"""Start an instance, or parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.names import known_components, known_services
from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.processes import census
from orienter_tasks.settings import catalog
from orienter_tasks.settings.model import WHATSAPP_SWITCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import InstanceContext
    from orienter_tasks.stack.component import Component

# About what a warm start of PostgreSQL and the store takes. Containers are started by the engine's own processes.
OTHERS_SECONDS = {"embedded": 0.3, "docker": 0.0}


def start_infra(ctx: InstanceContext) -> None:
    """Look before anything starts, then start the servers that others wait for."""
    startup = ctx.begin()
    startup.check(ctx.components)
    ctx.progress()
    startup.runner.expect(catalog.names())
    startup.runner.add(part for part in ctx.plan.infra if part.name in catalog.awaited())


def await_infra(ctx: InstanceContext, *, ready: bool) -> None:
    """Start nginx too, wait until all of the infrastructure is ready, or else only started, and finish this start."""
    _start_nginx(ctx)
    ctx.begin().runner.wait(catalog.names(), ready=ready)
    ctx.finish()


def _start_nginx(ctx: InstanceContext) -> None:
    """Bring nginx's configuration up to date and start nginx, after the servers that hooks and services wait for.

    Nothing waits for nginx, and Python runs one thread at a time: rendering beside their start would slow them down.
    Where they take long, that time is used for nginx.
    """
    runner = ctx.begin().runner
    runner.wait(catalog.awaited(), timeout=OTHERS_SECONDS[ctx.backend_name])
    bring_nginx_up_to_date(ctx)
    runner.add(part for part in ctx.plan.infra if part.name not in catalog.awaited())


def bring_nginx_up_to_date(ctx: InstanceContext) -> None:
    """Render nginx's configuration, let the real nginx check it, swap it in; reload a running one."""
    from orienter_tasks.backends.nginx.configuration import apply, config_dir

    if apply(ctx.config, ctx.backend):
        ctx.report.note(f"nginx: configuration written to {config_dir(ctx.instance)}")


def start_all(ctx: InstanceContext) -> None:
    """Start hooks and services beside the infrastructure that already starts, and wait until all is ready."""
    startup = ctx.begin()
    ctx.intend()
    _stop_unwanted(ctx)
    for name, reason in ctx.plan.skipped:
        startup.runner.skip(name, reason)
    startup.runner.add([*ctx.plan.hooks, *ctx.plan.services])
    _start_nginx(ctx)
    startup.runner.wait()
    watched = [service for service in ctx.plan.services if ctx.settings.services[service.name].on_exit != "ignore"]
    alive = census.take().by_component(ctx.instance)
    for service in watched:
        if service.name not in alive:  # one that made itself a daemon has left its first process behind
            service.require_alive("while the others started")
    ctx.follows = not ctx.options.detach
    ctx.finish()


def start_services(ctx: InstanceContext, names: Sequence[str]) -> None:
    """Start the named services, or all, and wait until they are ready."""
    wanted = known_services(ctx, names)
    startup = ctx.begin()
    skipped = dict(ctx.plan.skipped)
    for name in wanted:
        if name in skipped:
            raise ConfigError(f"{name} of {ctx.instance} is not started: {skipped[name]}", hint="see: inv env.show")
    chosen = [service for service in ctx.plan.services if not wanted or service.name in wanted]
    _require_needs(ctx, chosen)
    startup.check([service.name for service in chosen])
    if not wanted:
        ctx.intend()
    ctx.progress()
    _start_chosen(ctx, chosen)


def restart(ctx: InstanceContext, names: Sequence[str]) -> None:
    """Stop the named components and start them again."""
    from orienter_tasks.stack.runner import stop_all

    wanted = known_components(ctx, names)
    startup = ctx.begin()
    parts: list[Component] = [*ctx.plan.infra, *ctx.plan.services]
    skipped = dict(ctx.plan.skipped)
    chosen = [part for part in parts if part.name in wanted]
    if not chosen:
        raise NotFoundError(f"nothing to restart: {'; '.join(f'{n}: {skipped.get(n, n)}' for n in wanted)}")
    _require_needs(ctx, chosen)
    progress = ctx.progress()
    for error in stop_all(chosen, ctx.grace, progress.show):
        raise error
    startup.check([part.name for part in chosen])
    _start_chosen(ctx, chosen)


def _stop_unwanted(ctx: InstanceContext) -> None:
    """Stop what the command line says to leave out, where an earlier start has it running."""
    from orienter_tasks.lifecycle.stop import stop_services

    switched_off = ctx.options.whatsapp is False
    for name, _ in ctx.plan.skipped:
        by_switch = switched_off and ctx.settings.services[name].enabled_by == WHATSAPP_SWITCH
        if not by_switch and name not in ctx.options.without:
            continue
        if stop_services(ctx.instance, [name], ctx.grace, lambda _: None):
            ctx.report.note(f"{name} of {ctx.instance} was running and is stopped")


def _require_needs(ctx: InstanceContext, chosen: Sequence[Component]) -> None:
    """Require that the servers run that are needed and not started themselves."""
    down = {standing.component for standing in ctx.backend.standings() if not standing.running}
    parts = [*chosen, *_exporting(ctx, chosen)]
    missing = sorted({need for part in parts for need in part.needs} & down - {part.name for part in chosen})
    if missing:
        raise NotFoundError(f"{', '.join(missing)} of {ctx.instance} does not run", hint="start it with: inv infra.up")


def _start_chosen(ctx: InstanceContext, chosen: Sequence[Component]) -> None:
    """Start components, the services among them with what the hooks export, and wait until they are ready."""
    runner = ctx.begin().runner
    runner.add(part for part in chosen if part.name in catalog.names())
    runner.wait()
    runner.add(_exporting(ctx, chosen))
    runner.wait()
    runner.add(part for part in chosen if part.name not in catalog.names())
    runner.wait()
    ctx.finish()


def _exporting(ctx: InstanceContext, chosen: Sequence[Component]) -> list[Component]:
    """Return the hooks that print variables which services among the chosen need."""
    services = any(part.name not in catalog.names() for part in chosen)
    return [hook for hook in ctx.plan.hooks if hook.exports and services]
