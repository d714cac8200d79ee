"""Decide what goes and what stays. Pure: the same reading of reality gives the same plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.model import KINDS, claim_as_thing
from orienter_tasks.identity.checkouts import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orienter_tasks.commands.cleanup.model import Holder, Reality, Thing
    from orienter_tasks.commands.cleanup.scope import Scope

LOG_DAYS = 7
DAY = 86400.0
LEFT = "something of it stays"


@dataclass(frozen=True)
class Decision:
    """What is to become of a thing, and why."""

    thing: Thing
    goes: bool
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a clean-up is going to do.

    Attributes:
        scope: which clean-up.
        project: whose things.
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
        return sum(decision.thing.size or 0 for decision in self.goes)


def make(scope: Scope, reality: Reality) -> Plan:
    """Plan a clean-up."""
    things = [thing for thing in reality.things if thing.project == reality.project and scope.covers(thing.instance)]
    decisions = [_decide(scope, reality, thing) for thing in things if thing.kind != "directory"]
    holders = [holder for holder in reality.holders if scope.covers(holder.claim.id)]
    if scope.name != "logs":
        for holder in holders:
            decisions += _decide_last(scope, reality, holder, decisions)
    decisions.sort(
        key=lambda decision: (KINDS.index(decision.thing.kind), decision.thing.instance, decision.thing.name)
    )
    return Plan(
        scope=scope,
        project=reality.project,
        decisions=decisions,
        notes=tuple(_notes(scope, reality, holders)),
        unseen=tuple(reality.unseen),
        blind=any(_may_go(scope, holder) and _unseen(reality, holder) for holder in holders),
    )


def _decide(scope: Scope, reality: Reality, thing: Thing) -> Decision:
    holder = reality.holder_of(thing)
    if thing.obstacle:
        return Decision(thing, goes=False, reason=thing.obstacle)
    if scope.named:
        reason = _against_name(scope, reality, thing) if holder is None else ""
        return Decision(thing, goes=not reason, reason=reason or _name_of(scope))
    if holder is None:
        return Decision(thing, goes=False, reason=_unclaimed(reality, thing))
    if holder.checkout.state is State.HERE:
        return _of_existing(scope, reality, thing)
    if holder.checkout.state is not State.GONE:
        return Decision(thing, goes=False, reason=_kept(holder))
    goes = thing.kind in scope.kinds
    return Decision(thing, goes=goes, reason=holder.checkout.reason if goes else _later(thing))


def _of_existing(scope: Scope, reality: Reality, thing: Thing) -> Decision:
    """Of a checkout that exists, only what nobody misses goes: old logs, dead records, a network without use."""
    if thing.kind not in scope.kinds:
        return Decision(thing, goes=False, reason="its checkout exists")
    if thing.kind == "log":
        days = (reality.taken_at - (thing.written_at or reality.taken_at)) / DAY
        words = f"last written to {days:.0f} days ago" if days >= 1 else "written to within a day"
        return Decision(thing, goes=days > LOG_DAYS, reason=words)
    if thing.kind == "record" and not thing.running:
        if _runs(reality, thing):
            return Decision(thing, goes=False, reason="its process is gone, but others of its instance run")
        return Decision(thing, goes=True, reason="its process is gone")
    if thing.kind == "network" and scope.takes_data and not (thing.running or _has_containers(reality, thing)):
        return Decision(thing, goes=True, reason="nothing uses it; the next start makes it anew")
    return Decision(thing, goes=False, reason="its checkout exists")


def _decide_last(scope: Scope, reality: Reality, holder: Holder, decisions: Iterable[Decision]) -> list[Decision]:
    """Decide on a claim and on its directories, which outlive all else that is held by them."""
    mine = [thing for thing in reality.things if thing.kind == "directory" and holder.holds(thing)]
    against = _against_release(scope, reality, holder, [d for d in decisions if holder.holds(d.thing)])
    why = _name_of(scope) if scope.named else holder.checkout.reason
    result = [
        Decision(thing, goes=not (thing.obstacle or against), reason=thing.obstacle or against or why) for thing in mine
    ]
    if any(thing.obstacle for thing in mine if thing.component == "data"):
        against = against or LEFT
    return [*result, Decision(claim_as_thing(holder.claim), goes=not against, reason=against or why)]


def _against_release(scope: Scope, reality: Reality, holder: Holder, decisions: Sequence[Decision]) -> str:
    if not _may_go(scope, holder):
        return _kept(holder)
    if "claim" not in scope.kinds:
        return "inv cleanup.weekly releases it"
    if _unseen(reality, holder):
        return "what Docker has of it cannot be seen"
    if any(not decision.goes for decision in decisions):
        return LEFT
    return ""


def _against_name(scope: Scope, reality: Reality, thing: Thing) -> str:
    """Say why a thing that no claim names stays although the user named its instance, or everything."""
    root = reality.unclaimed[thing.root]
    if root.obstacle:
        return root.obstacle
    if scope.instance is not None and root.exists:
        return f"it belongs to {thing.root}, which exists and is not the checkout that holds id {thing.instance}"
    return ""


def _unclaimed(reality: Reality, thing: Thing) -> str:
    root = reality.unclaimed[thing.root]
    if root.obstacle:
        return root.obstacle
    if root.exists:
        return "its checkout exists"
    return f"no claim says what its checkout was; remove it with: inv cleanup.instance {thing.instance}"


def _notes(scope: Scope, reality: Reality, holders: Sequence[Holder]) -> Iterable[str]:
    if not scope.named:
        return
    for holder in holders:
        claim, name = holder.claim, f"instance {holder.claim.id} ({holder.claim.worktree})"
        mine = [thing for thing in reality.things if holder.holds(thing)]
        if claim.main_root == claim.root:
            yield f"{name} is a main checkout: {claim.root}"
        if any(thing.running for thing in mine if thing.kind in ("process", "container")):
            yield f"{name} is running: it is stopped first"
        if holder.checkout.state not in (State.HERE, State.GONE):
            yield f"{name}: {holder.checkout.reason}; it goes because it was named"


def _kept(holder: Holder) -> str:
    """Say why everything of a checkout stays that git does not confirm to be gone, and what to do about it."""
    reason = holder.checkout.reason
    if holder.checkout.state is State.MOVED:
        return f"{reason}: run inv there, and it is found again"
    if holder.checkout.state in (State.UNMOUNTED, State.UNCERTAIN, State.LOCKED):
        return f"{reason}; if it is gone for good: inv cleanup.instance {holder.claim.id}"
    return reason


def _may_go(scope: Scope, holder: Holder) -> bool:
    return scope.named or holder.checkout.state is State.GONE


def _unseen(reality: Reality, holder: Holder) -> bool:
    return holder.claim.backend == "docker" and not reality.engine_seen


def _runs(reality: Reality, thing: Thing) -> bool:
    return any(other.running and other.instance == thing.instance for other in reality.things)


def _has_containers(reality: Reality, thing: Thing) -> bool:
    return any(other.kind == "container" and other.instance == thing.instance for other in reality.things)


def _later(thing: Thing) -> str:
    data = thing.kind in ("volume", "directory")
    return "it is data: inv cleanup.weekly removes it" if data else "inv cleanup.weekly removes it"


def _name_of(scope: Scope) -> str:
    return f"instance {scope.instance} was named" if scope.instance is not None else "everything was named"
