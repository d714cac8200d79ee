"""Start an instance, or parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from orienter_tasks.commands.names import known_components, known_services
from orienter_tasks.errors import ConfigError, NotFoundError
from orienter_tasks.processes import census
from orienter_tasks.processes.listeners import listening_ports
from orienter_tasks.services import last_start
from orienter_tasks.settings import catalog, graph
from orienter_tasks.settings.model import WHATSAPP_SWITCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.services.hook import HookComponent
    from orienter_tasks.services.service import ServiceComponent
    from orienter_tasks.stack.component import Component

HEAD_START = 0.3
"""About what a warm start of PostgreSQL and the store takes. Containers are started by the engine's own processes."""


def start_infra(ctx: RunContext) -> None:
    """Check what a start of everything needs, then start the servers that others wait for."""
    start, plan = ctx.begin(), ctx.current.plan
    _check(ctx, plan.lasting)
    start.show_progress()
    servers = [part for part in plan.infra if part.name != catalog.LINK]
    start.runner.expect(part.name for part in servers)
    start.runner.add(part for part in servers if part.name not in catalog.last())


def _check(ctx: RunContext, parts: Sequence[Component], *, wanted: Sequence[str] = ()) -> None:
    """Check what a start of these needs; the link to an engine on another machine is made if it is missing."""
    infra = ctx.current.plan.infra
    link = [part for part in infra if part.name == catalog.LINK]
    forwarded = [part for part in infra if catalog.LINK in part.needs]
    ctx.begin().check([part.name for part in (*parts, *forwarded)], wanted=wanted, link=link)


def await_infra(ctx: RunContext, *, ready: bool) -> None:
    """Start nginx too, wait until the infrastructure is ready, or only started, and finish this start."""
    start = ctx.begin()
    _start_nginx(ctx)
    start.runner.wait(catalog.names(), ready=ready)
    start.finish()


def _start_nginx(ctx: RunContext) -> None:
    """Bring nginx's configuration up to date and start nginx, after the servers that hooks and services wait for.

    Nothing waits for nginx, and Python runs one thread at a time: rendering beside their start would slow them down.
    Where they take long, that time is used for nginx.
    """
    from orienter_tasks.commands.nginx import bring_up_to_date

    runner, current = ctx.begin().runner, ctx.current
    others, backends = catalog.awaited(), current.backend.backends
    native = backends.of(catalog.NGINX.name) == "embedded" and any(backends.of(name) == "embedded" for name in others)
    runner.wait(others, timeout=HEAD_START if native else 0.0)
    bring_up_to_date(ctx)
    runner.add(part for part in current.plan.infra if part.name in catalog.last())


def start_all(ctx: RunContext) -> None:
    """Start hooks and services beside the infrastructure that is already starting, and wait until all is ready."""
    start, plan = ctx.begin(), ctx.current.plan
    _record_expected(ctx)
    _stop_unwanted(ctx)
    for name, reason in plan.skipped:
        start.runner.skip(name, reason)
    start.runner.add([*plan.hooks, *plan.services])
    _start_nginx(ctx)
    start.runner.wait()
    _remember(ctx, plan.services, plan.hooks)
    started = [service for service in plan.services if service.name not in start.runner.skipped]
    watched = [service for service in started if ctx.settings.services[service.name].on_exit != "ignore"]
    alive = census.take().by_component(ctx.current.instance)
    for service in watched:
        if not alive.get(service.name):  # a service that became a daemon has left its first process
            service.require_alive("while the others started")
    listening = listening_ports(each.pid for service in watched for each in alive.get(service.name, ()))
    start.runner.add(service for service in watched if service.port and service.port not in listening)
    start.runner.wait()
    start.foreground = not ctx.options.detach
    start.finish()


def start_services(ctx: RunContext, names: Sequence[str]) -> None:
    """Start the named services, or all, and wait until they are ready."""
    known_services(ctx, names)
    start, chosen = ctx.begin(), services_to_start(ctx, names)
    _check(ctx, chosen, wanted=names)
    if not names:
        _record_expected(ctx)
    start.show_progress()
    _start_chosen(ctx, chosen)
    for name in names:
        if name in start.runner.skipped:
            raise _not_started(ctx, name, start.runner.skipped[name])


def restart(ctx: RunContext, names: Sequence[str]) -> None:
    """Stop the named components and start them again."""
    from orienter_tasks.stack.runner import stop_all

    known_components(ctx, names)
    start, chosen = ctx.begin(), parts_to_restart(ctx, names)
    start.show_progress()
    for error in stop_all(chosen, ctx.grace, start.show):
        raise error
    _check(ctx, chosen)
    _start_chosen(ctx, chosen)


def services_to_start(ctx: RunContext, names: Sequence[str]) -> list[ServiceComponent]:
    """Return the named services, or all.

    Raises:
        ConfigError: a named one is unknown, or is not to be started.
        NotFoundError: what they need does not run.
    """
    wanted, plan = known_services(ctx, names), ctx.current.plan
    for name, reason in plan.skipped:
        if name in wanted:
            raise _not_started(ctx, name, reason)
    chosen = [service for service in plan.services if not wanted or service.name in wanted]
    _require_needs(ctx, chosen)
    return chosen


def parts_to_restart(ctx: RunContext, names: Sequence[str]) -> list[Component]:
    """Return the named servers and services.

    Raises:
        ConfigError: one is unknown.
        NotFoundError: there are none, or what they need does not run.
    """
    wanted, plan = known_components(ctx, names), ctx.current.plan
    skipped = dict(plan.skipped)
    chosen = [part for part in plan.lasting if part.name in wanted]
    if not chosen:
        raise NotFoundError(f"nothing to restart: {'; '.join(f'{n}: {skipped.get(n, n)}' for n in wanted)}")
    _require_needs(ctx, chosen)
    return chosen


def _not_started(ctx: RunContext, name: str, reason: str) -> ConfigError:
    return ConfigError(f"{name} of {ctx.current.instance} is not started: {reason}", hint="see: inv env.show")


def _record_expected(ctx: RunContext) -> None:
    current = ctx.current
    ctx.claims.record_expected(current.claim, tuple(service.name for service in current.plan.services))


def _remember(ctx: RunContext, services: Sequence[Component], hooks: Sequence[HookComponent]) -> None:
    """Write down what this start found of these services and hooks."""
    instance, skipped, former = ctx.current.instance, ctx.begin().runner.skipped, last_start.load(ctx.current.instance)
    names = [service.name for service in services]
    kept = {name: reason for name, reason in former.skipped.items() if name not in names}
    left_out = {name: skipped[name] for name in names if name in skipped}
    exported = {**former.exported, **{hook.name: tuple(hook.printed) for hook in hooks}}
    last_start.save(instance, replace(former, skipped={**kept, **left_out}, exported=exported, failure=None))
    if left_out:
        ctx.claims.expect_without(ctx.current.claim, left_out)


def _stop_unwanted(ctx: RunContext) -> None:
    """Stop what the command line says to leave out, where an earlier start has it running."""
    from orienter_tasks.lifecycle.stop import stop_services

    instance, switched_off = ctx.current.instance, ctx.options.whatsapp is False
    for name, _ in ctx.current.plan.skipped:
        by_switch = switched_off and ctx.settings.services[name].enabled_by == WHATSAPP_SWITCH
        if not by_switch and name not in ctx.options.without:
            continue
        if stop_services(instance, [name], ctx.grace, lambda _: None):
            ctx.report.note(f"{name} of {instance} was running and is stopped")


def _require_needs(ctx: RunContext, chosen: Sequence[Component]) -> None:
    """Require that the servers run that are needed and not started themselves."""
    down = {status.name for status in ctx.current.backend.status() if not status.up}
    parts = [*chosen, *_exporting(ctx, chosen)]
    missing = sorted({need for part in parts for need in part.needs} & down - {part.name for part in chosen})
    if missing:
        raise NotFoundError(
            f"{', '.join(missing)} of {ctx.current.instance} does not run", hint="start it with: inv infra.up"
        )


def _start_chosen(ctx: RunContext, chosen: Sequence[Component]) -> None:
    """Start components, and before them the hooks that export what they need, and wait until they are ready."""
    start, plan = ctx.begin(), ctx.current.plan
    exporting = _exporting(ctx, chosen)
    left = [hook.name for hook in plan.hooks_before(chosen) if hook not in exporting]
    start.runner.add([*exporting, *chosen])
    start.runner.wait()
    _remember(ctx, [part for part in chosen if not catalog.is_infrastructure(part.name)], exporting)
    start.finish()
    if left:
        ctx.report.note(f"not run: {', '.join(left)}; inv dev runs {'this hook' if len(left) == 1 else 'these hooks'}")


def _exporting(ctx: RunContext, chosen: Sequence[Component]) -> list[HookComponent]:
    """Return the hooks that export what these need, or what such a hook needs."""
    hooks, exporters = ctx.current.plan.hooks, graph.exporters(ctx.settings)
    wanted = graph.reachable(exporters, [part.name for part in chosen])
    return [hook for hook in hooks if hook.name in wanted]
