"""Carry a plan out, instance by instance under its lock, each resource only if it is still what was planned for."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.cleanup.snapshot import judge
from orienter_tasks.errors import ConflictError, OrienterError
from orienter_tasks.identity import volumes
from orienter_tasks.identity.claims import of_claim
from orienter_tasks.instance.model import lock_name
from orienter_tasks.lifecycle.holders import require_removable
from orienter_tasks.machine.signals import raise_unheard
from orienter_tasks.machine.state import locked
from orienter_tasks.machine.threads import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orienter_tasks.commands.cleanup.model import Holder, Resource, Snapshot
    from orienter_tasks.commands.cleanup.plan import CleanupPlan
    from orienter_tasks.commands.cleanup.snapshot import Viewpoint


class ChangedError(Exception):
    """A resource is not what was planned for any more: it is left alone."""


class ExecutionOptions(msgspec.Struct, frozen=True):
    """How to carry a plan out.

    Attributes:
        grace: seconds before a process or container is killed.
        lock_seconds: how long to wait for another command that works on an instance.
        on_wait: called with what that is.
    """

    grace: float
    lock_seconds: float
    on_wait: Callable[[str], None]


class Outcome(msgspec.Struct):
    """What came of a plan: what went, what was left alone because it had changed, and what failed."""

    gone: list[Resource] = msgspec.field(default_factory=list)
    skipped: list[tuple[Resource, str]] = msgspec.field(default_factory=list)
    failed: list[tuple[Resource, OrienterError]] = msgspec.field(default_factory=list)

    def troubled(self, instance: int) -> bool:
        """Say whether something of an instance did not go."""
        return any(each.instance == instance for each, _ in (*self.skipped, *self.failed))


class Removal(msgspec.Struct, frozen=True):
    """What kinds remove their resources with."""

    plan: CleanupPlan
    snapshot: Snapshot
    view: Viewpoint
    options: ExecutionOptions
    outcome: Outcome

    def attempt(self, resources: Sequence[Resource], act: Callable[[], None]) -> None:
        """Remove resources that go together, and note what became of them; nothing more after a signal."""
        try:
            raise_unheard()
            self._require_rest_gone(resources)
            for resource in resources:
                holder = self.snapshot.holder_of(resource)
                if resource.kind.is_data and holder is not None and not holder.parked:
                    require_removable(of_claim(holder.claim))
            act()
        except ChangedError as reason:
            self.outcome.skipped += [(resource, str(reason)) for resource in resources]
        except OrienterError as error:
            self.outcome.failed += [(resource, error) for resource in resources]
        else:
            self.outcome.gone += resources

    def _require_rest_gone(self, resources: Sequence[Resource]) -> None:
        if any(resource.kind.last and self.outcome.troubled(resource.instance) for resource in resources):
            raise ChangedError("something of its instance is left")


def one_by_one(remove: Callable[[Removal, Resource], None]) -> Callable[[Removal, Sequence[Resource]], None]:
    """Make a kind's `remove` of a function that removes one resource; what carries the claim's mark goes last."""

    def remove_all(removal: Removal, resources: Sequence[Resource]) -> None:
        for resource in sorted(resources, key=lambda resource: resource.kind.holds_claim(resource)):
            removal.attempt([resource], partial(remove, removal, resource))

    return remove_all


def at_once(remove: Callable[[Removal, Resource], None]) -> Callable[[Removal, Sequence[Resource]], None]:
    """Make a kind's `remove` of a function that removes one resource, for what takes its time to go."""

    def remove_all(removal: Removal, resources: Sequence[Resource]) -> None:
        map_in_threads(lambda resource: removal.attempt([resource], partial(remove, removal, resource)), resources)

    return remove_all


def carry_out(plan: CleanupPlan, snapshot: Snapshot, view: Viewpoint, options: ExecutionOptions) -> Outcome:
    """Do what a plan says.

    Raises:
        ConflictError: another command works on the one instance that was named.
    """
    removal = Removal(plan, snapshot, view, options, Outcome())
    by_instance: dict[int, list[Resource]] = defaultdict(list)
    for decision in plan.goes:
        by_instance[decision.resource.instance].append(decision.resource)
    for number, resources in sorted(by_instance.items()):
        try:
            with locked(lock_name(plan.project, number), timeout=options.lock_seconds, on_wait=options.on_wait):
                for kind, chosen in groupby(_unchanged(removal, resources), key=lambda resource: resource.kind):
                    kind.remove(removal, list(chosen))
        except ConflictError as error:
            if plan.scope.instance is not None:
                raise
            removal.outcome.failed += [(resource, error) for resource in resources]
    return removal.outcome


def _unchanged(removal: Removal, resources: Sequence[Resource]) -> list[Resource]:
    """Leave out what belongs to a claim that has changed since, or whose checkout came back."""
    kept = []
    reasons: dict[str, str] = {}
    for resource in resources:
        holder = removal.snapshot.holder_of(resource)
        if holder is not None and holder.claim.token not in reasons:
            reasons[holder.claim.token] = _change(removal, holder)
        reason = reasons[holder.claim.token] if holder is not None else ""
        if reason:
            removal.outcome.skipped.append((resource, reason))
        else:
            kept.append(resource)
    return kept


def _change(removal: Removal, holder: Holder) -> str:
    claims = removal.view.claims.read()
    if holder.parked:
        claims += volumes.parked(removal.plan.project, claims)
    claim = next((claim for claim in claims if claim.token == holder.claim.token), None)
    if claim is None or (claim.id, claim.roots) != (holder.claim.id, holder.claim.roots):
        return "its claim has changed"
    if removal.plan.scope.named:
        return ""
    now = judge(removal.view, claim, claims)
    return "" if now.state is holder.checkout.state else now.reason
