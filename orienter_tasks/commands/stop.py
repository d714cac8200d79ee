"""Stop an instance, parts of it, or all instances of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.names import known_services
from orienter_tasks.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.backends.protocol import DataVolume
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.stack.component import ComponentStatus


def stop_services(ctx: RunContext, names: Sequence[str]) -> None:
    """Stop the named services, or all."""
    from orienter_tasks.lifecycle import stop as lifecycle

    wanted = known_services(ctx, names)
    instance, stopped = ctx.current.instance, []
    if _anything_runs(ctx):
        with ctx.start.stopping() as start:
            stopped = lifecycle.stop_services(instance, wanted, ctx.grace, start.show)
    if not stopped:
        ctx.report.note(f"{instance}: no such service was running")


def stop_this(ctx: RunContext, *, volumes: bool = False, yes: bool = False, services: bool = True) -> None:
    """Stop this instance; with `volumes` remove its data after asking.

    Raises:
        ConflictError: services still run that need the infrastructure, and only that was to stop; or something else
            may use the data that was to go.
        ConfigError: when data was to go, and nobody can be asked, the answer is no, or the settings are wrong.
    """
    current = ctx.current
    instance = current.instance
    if volumes and ctx.wrong_settings is not None:
        raise ctx.wrong_settings
    if never_started(ctx):
        ctx.report.note(f"{instance} is not running")
        return
    doomed = data_to_remove(ctx, volumes=volumes, services=services, sizes=not yes)
    if doomed and not yes:
        _ask(ctx, doomed)
    with ctx.start.stopping() as start:
        if doomed:
            start.require_removable()
        ran = start.stop()
        removed = current.backend.remove_data() if doomed else []
    ctx.claims.mark_used(current.claim.token)
    ctx.report.note(f"{instance} is stopped" if ran else f"{instance} was not running")
    for name in removed:
        ctx.report.note(f"removed {name}")


def stop_every(ctx: RunContext, *, volumes: bool) -> None:
    """Stop every instance of this project, one thread each; report what could not be stopped.

    Raises:
        ConfigError: when the data of all was to go: that is clean-up's to plan.
    """
    from orienter_tasks.lifecycle.stop import stop_other
    from orienter_tasks.machine.threads import map_in_threads

    claims = claims_to_stop(ctx, volumes=volumes)
    outcomes = map_in_threads(lambda claim: stop_other(claim, ctx.settings, ctx.claims, ctx.grace), claims)
    failures = [outcome for outcome in outcomes if outcome is not None]
    ctx.report.note(f"{len(claims) - len(failures)} of {len(claims)} instances of {ctx.settings.project} are stopped")
    for failure in failures[1:]:
        ctx.report.error(failure)
    if failures:
        raise failures[0]


def never_started(ctx: RunContext) -> bool:
    return ctx.current.settled_backend is None and not _anything_runs(ctx)


def data_to_remove(ctx: RunContext, *, volumes: bool, services: bool, sizes: bool) -> list[DataVolume]:
    """Return the data that goes with a stop; nothing unless `volumes`.

    Raises:
        ConflictError: only the infrastructure is to stop, and services still run that need it.
    """
    current = ctx.current
    busy = [] if services else [part.name for part in _services_up(ctx)]
    if busy:
        raise ConflictError(
            f"{', '.join(busy)} of {current.instance} still run", hint="stop everything with: inv dev.stop"
        )
    return list(current.backend.data_volumes(sizes=sizes)) if volumes and current.settled_backend else []


def claims_to_stop(ctx: RunContext, *, volumes: bool) -> list[Claim]:
    """Return the claims of this project.

    Raises:
        ConfigError: the data of all was to go: that is clean-up's to plan.
    """
    if volumes:
        raise ConfigError("--all --volumes would remove the data of every checkout", hint="do it in each one")
    return [claim for claim in ctx.claims.read() if claim.project == ctx.settings.project]


def _ask(ctx: RunContext, doomed: Sequence[DataVolume]) -> None:
    from orienter_tasks.output.units import megabytes

    sizes = ", ".join(f"{volume.name} ({megabytes(volume.size)})" for volume in doomed)
    loss = f"this removes the data of {ctx.current.instance}: {sizes}"
    if not ctx.report.confirm("remove it?", refusal=loss, before=lambda: ctx.report.warn(loss)):
        raise ConfigError("nothing was stopped or removed")


def _services_up(ctx: RunContext) -> list[ComponentStatus]:
    from orienter_tasks.observe.scan import scan

    found = scan([ctx.current.claim], details=False).instances[0]
    return [part for part in found.services if part.running]


def _anything_runs(ctx: RunContext) -> bool:
    from orienter_tasks.processes import census

    return bool(census.take().names(ctx.current.instance))
