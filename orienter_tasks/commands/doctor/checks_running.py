"""What runs of this instance: whether its servers answer, and what former runs have left."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding, Fix
from orienter_tasks.errors import OrienterError
from orienter_tasks.infra import choice
from orienter_tasks.infra.all import component
from orienter_tasks.processes import tree
from orienter_tasks.processes.daemons import running_on
from orienter_tasks.processes.record import forget, load, load_all
from orienter_tasks.processes.spawn import UNKNOWN_EXIT, describe_exit, ended_with
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orienter_tasks.backends.protocol import InstanceConfig
    from orienter_tasks.commands.cleanup.model import Reality
    from orienter_tasks.commands.cleanup.plan import Plan
    from orienter_tasks.commands.doctor.context import Situation
    from orienter_tasks.instance.model import Instance

SHOWN = 3


def servers(situation: Situation) -> Iterator[Finding]:
    """Log in to the servers that run; where services run, all of the servers must."""
    config = situation.config
    if config is None or situation.identity is None or not situation.started:
        return
    try:
        backend = choice.make(choice.named(situation.identity.claim.backend), config)
        standings = {standing.component: standing for standing in backend.standings()}
        foreign = list(backend.foreign())
    except OrienterError as error:
        yield Finding("problem", "servers", str(error), error.hint)
        return
    for name in foreign:
        yield Finding(
            "problem", "servers", f"{config.instance} needs a name that is not its own: {name}", "inv instances"
        )
    up = [name for name, standing in standings.items() if standing.running]
    services = sorted(name for name in tree.names(config.instance) if not catalog.component_of(name))
    if not up and not services:
        yield Finding("ok", "servers", f"{config.instance} is stopped")
        return
    for name in [name for name in catalog.names() if name not in up]:
        users = f", and {', '.join(services)} may need it" if services else ""
        yield Finding("problem", "servers", f"{name} of {config.instance} does not run{users}", "inv infra.up")
    yield from _logins(config, up)


def _logins(config: InstanceConfig, up: Iterable[str]) -> Iterator[Finding]:
    for name in up:
        try:
            answer = component(name).login(config)
        except OrienterError as error:
            yield Finding("problem", "servers", str(error), error.hint)
        else:
            if answer:
                yield Finding("ok", "servers", answer)


def stale_records(situation: Situation) -> Iterator[Finding]:
    """Find records of processes that are gone: of a crash, or of a restart of the machine."""
    if situation.config is None:
        return
    instance = situation.config.instance
    for record in load_all(instance):
        if not record.alive() and not running_on(instance, record):
            fix = Fix(f"remove the record of {record.component}", partial(_forget, instance, record.component))
            code = ended_with(instance, record)
            how = "died" if code == UNKNOWN_EXIT else describe_exit(code)
            words = f"{record.component} of {instance} (pid {record.pid}) {how} without being stopped"
            yield Finding("warning", "records", words, "inv dev.stop", fix)


def throwaways(situation: Situation) -> Iterator[Finding]:
    """Find what a killed `inv test.integration` has left running."""
    from orienter_tasks.commands.selftest.sandbox import left

    for directory in left(situation.root):
        yield Finding("warning", "orphans", f"left of a killed inv test: {directory}", "inv test.integration")


def orphans(reality: Reality) -> Iterator[Finding]:
    """Name what is left of checkouts that are gone, and what says that it is of one that nobody has claimed."""
    from orienter_tasks.commands.cleanup.plan import make
    from orienter_tasks.commands.cleanup.scope import Scope

    seen: set[str] = set()
    for name in ("daily", "weekly"):
        plan: Plan = make(Scope(name), reality)
        gone = [
            decision.thing
            for decision in plan.goes
            if decision.thing.key not in seen and decision.thing.kind not in ("log", "record", "claim", "directory")
        ]
        seen |= {thing.key for thing in gone}
        if gone:
            words = _listed([f"{thing.kind} {thing.name}" for thing in gone])
            yield Finding("warning", "orphans", f"left of checkouts that are gone: {words}", f"inv cleanup.{name}")
    strays = [thing for thing in reality.things if reality.holder_of(thing) is None and thing.key not in seen]
    for root in sorted({thing.root for thing in strays}):
        things = [thing for thing in strays if thing.root == root]
        words = _listed([f"{thing.kind} {thing.name}" for thing in things])
        there = root in reality.unclaimed and reality.unclaimed[root].exists
        remedy = f"cd {root} && inv dev.status" if there else f"inv cleanup.instance {things[0].instance}"
        yield Finding("warning", "orphans", f"of {root}, which nobody has claimed: {words}", remedy)
    for unseen in reality.unseen:
        yield Finding("ok", "orphans", f"not seen: {unseen}")
    if not seen and not strays:
        yield Finding("ok", "orphans", "none")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _forget(instance: Instance, component: str) -> None:
    """Remove a record, unless a new process has written one meanwhile."""
    found = load(instance, component)
    if found is not None and not found.alive():
        forget(instance, component)
