"""Read what a clean-up has to know: claims and their checkouts, and the resources of every kind."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from orienter_tasks.commands.cleanup.model import Holder, Root, Snapshot
from orienter_tasks.errors import OrienterError
from orienter_tasks.identity import checkouts, volumes
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.processes import census
from orienter_tasks.processes.table import directory_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.backends.docker.survey import DockerResource
    from orienter_tasks.commands.cleanup.model import Kind, Scope
    from orienter_tasks.commands.cleanup.plan import CleanupPlan
    from orienter_tasks.identity.checkouts import Checkout
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.processes.census import OwnedProcess

DOCKER = "containers, volumes and networks"


class Viewpoint(msgspec.Struct, frozen=True):
    """From where to look.

    Attributes:
        project: whose resources.
        claims: the claims of this user.
        here: the checkout that the command runs in.
        kinds: what to look for.
    """

    project: str
    claims: Claims
    here: Path
    engine: Engine
    kinds: Sequence[Kind]


class Reading(msgspec.Struct, frozen=True, dict=True):
    """What kinds find their resources in; the engine is asked once for all of them."""

    view: Viewpoint
    scope: Scope
    holders: Sequence[Holder]
    processes: Sequence[OwnedProcess]
    unseen: list[str] = msgspec.field(default_factory=list)

    @cached_property
    def on_engine(self) -> Sequence[DockerResource]:
        """What the engine has of the project; nothing where it does not answer, which `unseen` then says."""
        from orienter_tasks.backends.docker import survey

        engine = self.view.engine
        silent = engine.why_silent()
        if silent is not None:
            self.unseen.append(f"{DOCKER}: no engine answers at {engine.endpoint}: {silent}")
            return ()
        try:
            return survey.read(engine, project=self.view.project)
        except OrienterError as error:
            self.unseen.append(f"{DOCKER}: {error}")
            return ()


def read(view: Viewpoint, scope: Scope) -> Snapshot:
    """Read what there is.

    Raises:
        ConfigError: the claims cannot be read; a newer version's are left alone.
    """
    claims = [claim for claim in view.claims.read() if claim.project == view.project]
    processes = census.take().owned(map(of_claim, claims)) if scope.name != "logs" else []
    holders = [Holder(claim, judge(view, claim, claims, processes)) for claim in claims]
    parked = volumes.parked(view.project, claims)
    holders += [Holder(claim, judge(view, claim, claims), parked=True) for claim in parked]
    reading = Reading(view, scope, holders, processes)
    wanted = [kind for kind in view.kinds if scope.name in (*kind.scopes, *kind.mentioned)]
    resources = [resource for kind in wanted for resource in kind.find(reading)]
    roots = {each.root for each in resources if not any(holder.holds(each) for holder in holders)}
    return Snapshot(
        project=view.project,
        holders=holders,
        resources=resources,
        unclaimed={root: Root(checkouts.exists(Path(root)), checkouts.owner_blocker(Path(root))) for root in roots},
        taken_at=time.time(),
        hidden=view.engine.unseen_backends() or ("docker", "") if reading.unseen else (),
        unseen=reading.unseen,
    )


def judge(view: Viewpoint, claim: Claim, claims: Sequence[Claim], processes: Sequence[OwnedProcess] = ()) -> Checkout:
    """Say what became of a claim's checkout, looking also where other checkouts and its own processes are."""
    return checkouts.judge(claim, _hints(view, claim, claims, processes))


def measure(plan: CleanupPlan, view: Viewpoint) -> CleanupPlan:
    """Add the sizes that only their kinds can tell, of the kinds of which something goes."""
    going = [decision.resource for decision in plan.goes]
    decisions = list(plan.decisions)
    for kind in {resource.kind for resource in going}:
        if kind.sizes is None:
            continue
        known = kind.sizes(view, [resource for resource in going if resource.kind is kind])
        decisions = [
            replace(each, resource=replace(each.resource, size=known.get(each.resource.key)))
            if each.resource.kind is kind
            else each
            for each in decisions
        ]
    return replace(plan, decisions=decisions)


def _hints(view: Viewpoint, claim: Claim, claims: Sequence[Claim], processes: Sequence[OwnedProcess]) -> Iterator[Path]:
    yield view.here
    for other in claims:
        yield Path(other.root)
    for ours in processes:
        if ours.root in claim.roots and ours.instance == claim.id:
            directory = Path(directory_of(ours.process.pid))
            yield from (directory, *directory.parents)
