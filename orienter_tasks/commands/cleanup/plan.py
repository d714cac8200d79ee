"""Decide what goes and what stays. Pure: the same snapshot gives the same plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.cleanup.model import EXISTS, Verdict
from orienter_tasks.identity.checkouts import CheckoutState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.commands.cleanup.model import Holder, Resource, Scope, Snapshot

LEFT = "something of it stays"
UNSEEN = "what Docker has of it cannot be seen"
KEPT = {
    CheckoutState.MOVED: "{reason}: run inv there, and it is found again",
    CheckoutState.UNMOUNTED: "{reason}; if it is gone for good: inv cleanup.instance {id}",
    CheckoutState.LOCKED: "{reason}; if it is gone for good: inv cleanup.instance {id}",
    CheckoutState.UNCERTAIN: "{reason}; if it is gone for good: inv cleanup.instance {id}",
}
"""Why everything of a checkout stays that git does not confirm to be gone, and what to do about it."""


class Decision(Verdict, frozen=True):
    """What is to become of a resource, and why."""

    resource: Resource


class CleanupPlan(msgspec.Struct, frozen=True):
    """What a clean-up is going to do.

    Attributes:
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
        return [decision for decision in self.decisions if decision.goes]

    @property
    def stays(self) -> list[Decision]:
        return [decision for decision in self.decisions if not decision.goes]

    @property
    def size(self) -> int:
        """Bytes of what goes, as far as they are known."""
        return sum(decision.resource.size or 0 for decision in self.goes)


def make(scope: Scope, snapshot: Snapshot) -> CleanupPlan:
    mine = [each for each in snapshot.resources if each.project == snapshot.project and scope.covers(each.instance)]
    mine.sort(key=lambda resource: (resource.kind.order, resource.instance, resource.name))
    decisions: list[Decision] = []
    for resource in mine:
        holder = snapshot.holder_of(resource)
        if resource.kind.outlives and not scope.snapshots:
            verdict = resource.kind.unneeded(scope, snapshot, resource)
        else:
            verdict = _verdict(scope, snapshot, resource, holder)
        if verdict.goes and resource.kind.last and holder is not None:
            verdict = _verdict_on_last(snapshot, holder, verdict, resource, decisions)
        decisions.append(Decision(verdict.goes, verdict.reason, resource))
    holders = [holder for holder in snapshot.holders if scope.covers(holder.claim.id)]
    may_go = [holder for holder in holders if scope.named or holder.checkout.state is CheckoutState.GONE]
    return CleanupPlan(
        scope=scope,
        project=snapshot.project,
        decisions=decisions,
        notes=tuple(_notes(scope, snapshot, holders)),
        unseen=tuple(snapshot.unseen),
        blind=any(_is_unseen(snapshot, holder) for holder in may_go),
    )


def _verdict(scope: Scope, snapshot: Snapshot, resource: Resource, holder: Holder | None) -> Verdict:
    if resource.blocker:
        return _stays(resource.blocker)
    if holder is None:
        return _verdict_on_unclaimed(scope, resource, snapshot)
    state, reason, kind = holder.checkout.state, holder.checkout.reason, resource.kind
    if scope.named:
        return _goes(_name_of(scope))
    if state in KEPT:
        return _stays(KEPT[state].format(reason=reason, id=holder.claim.id))
    takes = scope.name in kind.scopes
    if state is CheckoutState.HERE:
        return kind.unneeded(scope, snapshot, resource) if takes else _stays(EXISTS)
    later = f"inv cleanup.weekly {kind.verbs[0]} it"
    return _goes(reason) if takes else _stays(f"it is data: {later}" if kind.is_data else later)


def _verdict_on_last(
    snapshot: Snapshot, holder: Holder, verdict: Verdict, resource: Resource, decisions: Iterable[Decision]
) -> Verdict:
    """Keep what outlives the rest of its instance while anything of that stays, or cannot be seen."""
    if _is_unseen(snapshot, holder):
        return _stays(UNSEEN)
    staying = (each.resource for each in decisions if not each.goes and each.resource.kind is not resource.kind)
    left = any(holder.holds(each) and each.kind.holds_claim(each) for each in staying)
    return _stays(LEFT) if left else verdict


def _verdict_on_unclaimed(scope: Scope, resource: Resource, snapshot: Snapshot) -> Verdict:
    root = snapshot.unclaimed[resource.root]
    if root.blocker:
        return _stays(root.blocker)
    if not scope.named:
        remedy = f"inv cleanup.instance {resource.instance}"
        return _stays(EXISTS if root.exists else f"no claim says what its checkout was; remove it with: {remedy}")
    if scope.instance is not None and root.exists:
        owner = f"{resource.root}, which exists and is not the checkout that holds id {resource.instance}"
        return _stays(f"it belongs to {owner}")
    return _goes(_name_of(scope))


def _notes(scope: Scope, snapshot: Snapshot, holders: Sequence[Holder]) -> Iterable[str]:
    if not scope.named:
        return
    for holder in holders:
        claim, name = holder.claim, f"instance {holder.claim.id} ({holder.claim.worktree})"
        if claim.main_root == claim.root:
            yield f"{name} is a main checkout: {claim.root}"
        if any(resource.running and holder.holds(resource) for resource in snapshot.resources):
            yield f"{name} is running: it is stopped first"
        if holder.checkout.state not in (CheckoutState.HERE, CheckoutState.GONE):
            yield f"{name}: {holder.checkout.reason}; it goes because it was named"


def _is_unseen(snapshot: Snapshot, holder: Holder) -> bool:
    return bool(holder.claim.backends.used & {*snapshot.hidden})


def _name_of(scope: Scope) -> str:
    return f"instance {scope.instance} was named" if scope.instance is not None else "everything was named"


def _goes(reason: str) -> Verdict:
    return Verdict(goes=True, reason=reason)


def _stays(reason: str) -> Verdict:
    return Verdict(goes=False, reason=reason)
