"""Decide what goes and what stays. Pure: the same reading of reality gives the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import KINDS, claim_as_resource
from orienter_tasks.identity.checkouts import CheckoutState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.commands.cleanup.model import Holder, Resource, Snapshot
    from orienter_tasks.commands.cleanup.scope import Scope

LOG_DAYS = 7
DAY = 86400.0
LEFT = "something of it stays"


@dataclass(frozen=True)
class Decision:
    """What is to become of a resource, and why."""

    resource: Resource
    goes: bool
    reason: str


@dataclass(frozen=True)
class CleanupPlan:
    """What a clean-up is going to do.

    Attributes:
        scope: which clean-up.
        project: whose resources.
        decisions: what goes, in the order in which it goes, and what stays.
        notes: what the user should know before.
        unseen: what could not be seen.
        blind: whether that may be something that should go.
    """

    scope: Scope
    project: str
    decisions: Sequence[Decision]
    notes: Sequence[str] = ()
    unseen: Sequence[str] = ()
    blind: bool = False

    @property
    def goes(self) -> list[Decision]:
        """What goes."""
        return [decision for decision in self.decisions if decision.goes]

    @property
    def stays(self) -> list[Decision]:
        """What stays."""
        return [decision for decision in self.decisions if not decision.goes]

    @property
    def size(self) -> int:
        """Bytes of what goes, as far as they are known."""
        return sum(decision.resource.size or 0 for decision in self.goes)


def make(scope: Scope, reality: Snapshot) -> CleanupPlan:
    """Plan a clean-up."""
    resources = [
        resource
        for resource in reality.resources
        if resource.project == reality.project and scope.covers(resource.instance)
    ]
    decisions = [_decide(scope, reality, resource) for resource in resources if resource.kind != "directory"]
    holders = [holder for holder in reality.holders if scope.covers(holder.claim.id)]
    if scope.name != "logs":
        for holder in holders:
            decisions += _decide_last(scope, reality, holder, decisions)
    decisions.sort(
        key=lambda decision: (KINDS.index(decision.resource.kind), decision.resource.instance, decision.resource.name)
    )
    return CleanupPlan(
        scope=scope,
        project=reality.project,
        decisions=decisions,
        notes=tuple(_notes(scope, reality, holders)),
        unseen=tuple(reality.unseen),
        blind=any(_may_go(scope, holder) and _unseen(reality, holder) for holder in holders),
    )


def _decide(scope: Scope, reality: Snapshot, resource: Resource) -> Decision:
    holder = reality.holder_of(resource)
    if resource.blocker:
        return Decision(resource, goes=False, reason=resource.blocker)
    if scope.named:
        reason = _against_name(scope, reality, resource) if holder is None else ""
        return Decision(resource, goes=not reason, reason=reason or _name_of(scope))
    if holder is None:
        return Decision(resource, goes=False, reason=_unclaimed(reality, resource))
    if holder.checkout.state is CheckoutState.HERE:
        return _of_existing(scope, reality, resource)
    if holder.checkout.state is not CheckoutState.GONE:
        return Decision(resource, goes=False, reason=_kept(holder))
    goes = resource.kind in scope.kinds
    return Decision(resource, goes=goes, reason=holder.checkout.reason if goes else _later(resource))


def _of_existing(scope: Scope, reality: Snapshot, resource: Resource) -> Decision:
    """Of a checkout that exists, only what nobody misses goes: old logs, dead records, a network without use."""
    if resource.kind not in scope.kinds:
        return Decision(resource, goes=False, reason="its checkout exists")
    if resource.kind == "log":
        days = (reality.taken_at - (resource.written_at or reality.taken_at)) / DAY
        words = f"last written to {days:.0f} days ago" if days >= 1 else "written to within a day"
        return Decision(resource, goes=days > LOG_DAYS, reason=words)
    if resource.kind == "record" and not resource.running:
        if _runs(reality, resource):
            return Decision(resource, goes=False, reason="its process is gone, but others of its instance run")
        return Decision(resource, goes=True, reason="its process is gone")
    if resource.kind == "network" and scope.takes_data and not (resource.running or _has_containers(reality, resource)):
        return Decision(resource, goes=True, reason="nothing uses it; the next start makes it anew")
    return Decision(resource, goes=False, reason="its checkout exists")


def _decide_last(scope: Scope, reality: Snapshot, holder: Holder, decisions: Iterable[Decision]) -> list[Decision]:
    """Decide on a claim and on its directories, which outlive all else that is held by them."""
    mine = [resource for resource in reality.resources if resource.kind == "directory" and holder.holds(resource)]
    against = _against_release(scope, reality, holder, [d for d in decisions if holder.holds(d.resource)])
    why = _name_of(scope) if scope.named else holder.checkout.reason
    result = [
        Decision(resource, goes=not (resource.blocker or against), reason=resource.blocker or against or why)
        for resource in mine
    ]
    if any(resource.blocker for resource in mine if resource.component == "data"):
        against = against or LEFT
    return [*result, Decision(claim_as_resource(holder.claim), goes=not against, reason=against or why)]


def _against_release(scope: Scope, reality: Snapshot, holder: Holder, decisions: Sequence[Decision]) -> str:
    if not _may_go(scope, holder):
        return _kept(holder)
    if "claim" not in scope.kinds:
        return "inv cleanup.weekly releases it"
    if _unseen(reality, holder):
        return "what Docker has of it cannot be seen"
    if any(not decision.goes for decision in decisions):
        return LEFT
    return ""


def _against_name(scope: Scope, reality: Snapshot, resource: Resource) -> str:
    """Say why a resource that no claim names stays although the user named its instance, or everything."""
    root = reality.unclaimed[resource.root]
    if root.blocker:
        return root.blocker
    if scope.instance is not None and root.exists:
        return f"it belongs to {resource.root}, which exists and is not the checkout that holds id {resource.instance}"
    return ""


def _unclaimed(reality: Snapshot, resource: Resource) -> str:
    root = reality.unclaimed[resource.root]
    if root.blocker:
        return root.blocker
    if root.exists:
        return "its checkout exists"
    return f"no claim says what its checkout was; remove it with: inv cleanup.instance {resource.instance}"


def _notes(scope: Scope, reality: Snapshot, holders: Sequence[Holder]) -> Iterable[str]:
    if not scope.named:
        return
    for holder in holders:
        claim, name = holder.claim, f"instance {holder.claim.id} ({holder.claim.worktree})"
        mine = [resource for resource in reality.resources if holder.holds(resource)]
        if claim.main_root == claim.root:
            yield f"{name} is a main checkout: {claim.root}"
        if any(resource.running for resource in mine if resource.kind in ("process", "container")):
            yield f"{name} is running: it is stopped first"
        if holder.checkout.state not in (CheckoutState.HERE, CheckoutState.GONE):
            yield f"{name}: {holder.checkout.reason}; it goes because it was named"


def _kept(holder: Holder) -> str:
    """Say why everything of a checkout stays that git does not confirm to be gone, and what to do about it."""
    reason = holder.checkout.reason
    if holder.checkout.state is CheckoutState.MOVED:
        return f"{reason}: run inv there, and it is found again"
    if holder.checkout.state in (CheckoutState.UNMOUNTED, CheckoutState.UNCERTAIN, CheckoutState.LOCKED):
        return f"{reason}; if it is gone for good: inv cleanup.instance {holder.claim.id}"
    return reason


def _may_go(scope: Scope, holder: Holder) -> bool:
    return scope.named or holder.checkout.state is CheckoutState.GONE


def _unseen(reality: Snapshot, holder: Holder) -> bool:
    return holder.claim.backend == "docker" and not reality.engine_seen


def _runs(reality: Snapshot, resource: Resource) -> bool:
    return any(other.running and other.instance == resource.instance for other in reality.resources)


def _has_containers(reality: Snapshot, resource: Resource) -> bool:
    return any(other.kind == "container" and other.instance == resource.instance for other in reality.resources)


def _later(resource: Resource) -> str:
    data = resource.kind in ("volume", "directory")
    return "it is data: inv cleanup.weekly removes it" if data else "inv cleanup.weekly removes it"


def _name_of(scope: Scope) -> str:
    return f"instance {scope.instance} was named" if scope.instance is not None else "everything was named"
