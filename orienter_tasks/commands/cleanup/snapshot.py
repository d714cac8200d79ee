"""Read reality for a clean-up: claims and their checkouts, processes, what the engine has, and files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup import files
from orienter_tasks.commands.cleanup.model import Holder, Resource, Root, Snapshot
from orienter_tasks.errors import OrienterError
from orienter_tasks.identity import checkouts as checkout
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.machine.directories import size_of
from orienter_tasks.processes import census
from orienter_tasks.processes.table import directory_of, is_of_this_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.backends.docker.engine import Engine
    from orienter_tasks.commands.cleanup.plan import CleanupPlan
    from orienter_tasks.commands.cleanup.scope import Scope
    from orienter_tasks.identity.checkouts import Checkout
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.processes.census import OwnedProcess

NOT_MINE = "it is another user's"


@dataclass(frozen=True)
class Viewpoint:
    """From where reality is read.

    Attributes:
        project: whose resources.
        claims: the claims of this user.
        here: the checkout that the command runs in.
        engine: the Docker engine.
    """

    project: str
    claims: Claims
    here: Path
    engine: Engine


def read(view: Viewpoint, scope: Scope) -> Snapshot:
    """Read what a clean-up has to know.

    Raises:
        ConfigError: the claims cannot be read; a newer version's are left alone.
    """
    claims = [claim for claim in view.claims.read() if claim.project == view.project]
    processes = [] if scope.name == "logs" else census.take().owned(map(of_claim, claims))
    docker, unseen = _docker(view, scope)
    holders = [Holder(claim, judge(view, claim, claims, processes)) for claim in claims]
    resources = [
        *_claimed_or_not(view.project, processes, holders),
        *docker,
        *(resource for holder in holders if scope.covers(holder.claim.id) for resource in _files(scope, holder)),
    ]
    return Snapshot(
        project=view.project,
        holders=holders,
        resources=resources,
        unclaimed={
            resource.root: Root(checkout.exists(Path(resource.root)), checkout.owner_blocker(Path(resource.root)))
            for resource in resources
            if not any(holder.holds(resource) for holder in holders)
        },
        taken_at=time.time(),
        engine_seen=not unseen,
        unseen=unseen,
    )


def judge(view: Viewpoint, claim: Claim, claims: Sequence[Claim], processes: Sequence[OwnedProcess] = ()) -> Checkout:
    """Say what became of a claim's checkout, looking also where other checkouts and its own processes are."""
    return checkout.judge(claim, _hints(view, claim, claims, processes))


def processes_of(project: str, holder: Holder) -> list[Resource]:
    """Find the processes of a claim that are there now, but for the one that started this very command."""
    found = _claimed_or_not(project, census.take().owned([of_claim(holder.claim)]), [holder])
    return [resource for resource in found if holder.holds(resource) and not resource.blocker]


def measure(plan: CleanupPlan, engine: Engine) -> CleanupPlan:
    """Add the sizes of the volumes and directories that go."""
    kinds = {decision.resource.kind for decision in plan.goes}
    known: dict[str, int | None] = {}
    if "volume" in kinds:
        from orienter_tasks.commands.cleanup.engine import sizes

        known.update(sizes(engine))
    for decision in plan.goes:
        if decision.resource.kind == "directory":
            known[decision.resource.key] = size_of(Path(decision.resource.key))
    return replace(
        plan,
        decisions=tuple(
            replace(decision, resource=replace(decision.resource, size=known.get(decision.resource.key)))
            if decision.resource.kind in ("volume", "directory")
            else decision
            for decision in plan.decisions
        ),
    )


def _docker(view: Viewpoint, scope: Scope) -> tuple[list[Resource], list[str]]:
    """Read what the engine has, and what could not be seen; logs alone need nothing of it."""
    if scope.name == "logs":
        return [], []
    from orienter_tasks.commands.cleanup import engine as engines

    silent = view.engine.why_silent()
    unseen = f"containers, volumes and networks: no engine answers at {view.engine.endpoint}: {silent}"
    if silent is not None:
        return [], [unseen]
    try:
        return engines.read(view.engine, view.project), []
    except OrienterError as error:
        return [], [f"containers, volumes and networks: {error}"]


def _claimed_or_not(project: str, found: Sequence[OwnedProcess], holders: Sequence[Holder]) -> Iterator[Resource]:
    """Describe processes as their claim's; without one, only those that say that they are this project's."""
    from orienter_tasks.commands.cleanup import processes

    for ours in found:
        holder = next((one for one in holders if _is_of(ours, one)), None)
        if holder is not None:
            yield processes.as_resource(ours, project, holder.claim.root)
        elif processes.project_of(ours) == project:
            resource = processes.as_resource(ours, project, ours.root)
            yield resource if is_of_this_user(ours.process.pid) else replace(resource, blocker=NOT_MINE)


def _is_of(found: OwnedProcess, holder: Holder) -> bool:
    claim, place = holder.claim, holder.checkout.place
    known = found.root in claim.roots or (place is not None and found.root == str(place))
    return known and found.instance == claim.id and found.project in ("", claim.project)


def _files(scope: Scope, holder: Holder) -> Iterator[Resource]:
    """Give an instance's own files, where its checkout is or what is left of it."""
    claim, place = holder.claim, holder.checkout.place
    if holder.checkout.state is CheckoutState.GONE:
        place = Path(claim.root)
    if place is None:
        return
    if scope.takes_data:
        yield from files.directories(claim, place)
    if scope.named or os.path.realpath(place) != str(place):
        return
    if "log" in scope.kinds and holder.checkout.state is CheckoutState.HERE:
        yield from files.logs(claim, place)
    if "record" in scope.kinds and holder.checkout.state is CheckoutState.HERE:
        yield from files.dead_records(claim, place)


def _hints(view: Viewpoint, claim: Claim, claims: Sequence[Claim], processes: Sequence[OwnedProcess]) -> Iterator[Path]:
    yield view.here
    for other in claims:
        yield Path(other.root)
    for ours in processes:
        if ours.root in claim.roots and ours.instance == claim.id:
            directory = Path(directory_of(ours.process.pid))
            yield from (directory, *directory.parents)
