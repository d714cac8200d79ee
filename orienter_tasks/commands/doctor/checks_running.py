"""What is running: whether the servers answer, and what earlier runs and other checkouts have left behind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.backends.docker.engine import shared
from orienter_tasks.commands.cleanup.kinds import KINDS
from orienter_tasks.commands.cleanup.model import Scope
from orienter_tasks.commands.cleanup.plan import make
from orienter_tasks.commands.cleanup.snapshot import Viewpoint, read
from orienter_tasks.commands.doctor.checks_identity import checkouts
from orienter_tasks.commands.doctor.context import started_on
from orienter_tasks.commands.selftest.sandbox import left
from orienter_tasks.commands.status import look
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.output.checks import Check, Fix, collect
from orienter_tasks.output.units import megabytes
from orienter_tasks.processes import census
from orienter_tasks.processes.logfile import too_large
from orienter_tasks.processes.record import forget, load, load_all
from orienter_tasks.processes.spawn import UNKNOWN_EXIT, describe_exit, ended_with
from orienter_tasks.settings import catalog
from orienter_tasks.stack.native import running_on

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.cleanup.model import Resource, ScopeName, Snapshot
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext

SHOWN = 3


def servers(ctx: RunContext) -> Iterator[Check]:
    """Log in to the running servers; when anything runs, all of them must."""
    config, started = ctx.current.config, started_on(ctx)
    if not started:
        return
    backend = choice.make(started, config)
    up = {status.name for status in backend.status() if status.up}
    for conflict in list(backend.name_conflicts()):
        words = f"{config.instance} needs a name that is not its own: {conflict}"
        yield Check("servers", "problem", words, "inv instances")
    services = sorted(name for name in census.take().names(config.instance) if not catalog.is_infrastructure(name))
    if not up and not services:
        yield Check("servers", "ok", f"{config.instance} is stopped")
        return
    users = f", and {', '.join(services)} may need it" if services else ""
    for name in config.instance.infra:
        if name not in up:
            yield Check("servers", "problem", f"{name} of {config.instance} does not run{users}", "inv infra.up")
    for name in config.instance.infra:
        if name in up:
            yield from collect("servers", partial(_login, config, name))


def answering(ctx: RunContext) -> Iterator[Check]:
    """Ask the running services whether they answer: a crash below a file watcher leaves a process that does not."""
    if not started_on(ctx):
        return
    found, _ = look(ctx)
    for each in found.components:
        if each.silence:
            words = f"{each.name} of {found.instance} is not answering: {each.silence}"
            yield Check("services", "problem", words, f"inv dev.logs -s {each.name} --no-follow")


def _login(config: InstanceConfig, name: str) -> Iterator[Check]:
    answer = component(name).login(config)
    if answer:
        yield Check("servers", "ok", answer)


def long_logs(ctx: RunContext) -> Iterator[Check]:
    """Name the logs that have exceeded their size: only while a command of ours runs are they cut."""
    limits = ctx.settings.logs
    for record in load_all(ctx.current.instance):
        if size := too_large(Path(record.log), limits):
            words = f"{record.log} has {megabytes(size)}, and orienter.logs.max_size is {limits.max_size}"
            yield Check("logs", "warning", words, "inv dev.status")


def stale_records(ctx: RunContext) -> Iterator[Check]:
    """Find records of dead processes, left by a crash or a restart of the machine."""
    instance = ctx.current.config.instance
    for record in load_all(instance):
        if not record.alive() and not running_on(instance, record):
            fix = Fix(f"remove the record of {record.component}", partial(_forget, instance, record.component))
            code = ended_with(instance, record)
            how = "died" if code == UNKNOWN_EXIT else describe_exit(code)
            words = f"{record.component} of {instance} (pid {record.pid}) {how} without being stopped"
            yield Check("records", "warning", words, "inv dev.stop", fix)


def _forget(instance: Instance, component: str) -> None:
    """Remove a record, unless a new process has replaced it in the meantime."""
    found = load(instance, component)
    if found is not None and not found.alive():
        forget(instance, component)


def throwaways(ctx: RunContext) -> Iterator[Check]:
    """Find what a killed `inv test` has left behind."""
    for directory in left(ctx.root, ctx.settings.project):
        yield Check("orphans", "warning", f"left of a killed inv test: {directory}", "inv test.integration")


def checkouts_and_orphans(ctx: RunContext) -> Iterator[Check]:
    """Compare claims, checkouts and what exists, by one snapshot."""
    snapshot = read(Viewpoint(ctx.settings.project, ctx.claims, ctx.root, shared(), KINDS), Scope("weekly"))
    yield from collect("claims", lambda: checkouts(ctx, snapshot))
    yield from orphans(snapshot)


def orphans(snapshot: Snapshot) -> Iterator[Check]:
    """Name what is left of deleted checkouts, and what belongs to checkouts without a claim."""
    told: set[str] = set()
    for name in ("daily", "weekly"):
        gone = [thing for thing in _going(snapshot, name) if thing.key not in told]
        told |= {thing.key for thing in gone}
        if gone:
            words = f"left of checkouts that are gone: {_listed(gone)}"
            yield Check("orphans", "warning", words, f"inv cleanup.{name}")
    strays = [thing for thing in snapshot.resources if snapshot.holder_of(thing) is None and thing.key not in told]
    for root in sorted({thing.root for thing in strays}):
        things = [thing for thing in strays if thing.root == root]
        there = root in snapshot.unclaimed and snapshot.unclaimed[root].exists
        remedy = f"cd {root} && inv dev.status" if there else f"inv cleanup.instance {things[0].instance}"
        yield Check("orphans", "warning", f"of {root}, which nobody has claimed: {_listed(things)}", remedy)
    for unseen in snapshot.unseen:
        yield Check("orphans", "ok", f"not seen: {unseen}")
    if not told and not strays:
        yield Check("orphans", "ok", "none")


def _going(snapshot: Snapshot, name: ScopeName) -> list[Resource]:
    """Return what a clean-up would remove, without files and claims."""
    things = [decision.resource for decision in make(Scope(name), snapshot).goes]
    return [thing for thing in things if thing.kind.name not in ("log", "record", "claim", "directory")]


def _listed(things: Sequence[Resource]) -> str:
    more = f" and {len(things) - SHOWN} more" if len(things) > SHOWN else ""
    return ", ".join(f"{thing.kind} {thing.name}" for thing in things[:SHOWN]) + more
