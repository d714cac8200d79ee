"""Plans and outcomes as people and machines read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orienter_tasks import inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.cleanup.carry_out import Outcome
    from orienter_tasks.cleanup.plan import Decision, Plan
    from orienter_tasks.cleanup.things import Holder, Thing
    from orienter_tasks.report.console import Report

GOES = ("goes", "name", "instance", "size", "why")
STAYS = ("instance", "stays", "why")
_PLURALS = {"process": "processes", "directory": "directories"}
_VERBS = {"log": "emptied", "process": "stopped", "claim": "released"}


def as_tables(report: Report, plan: Plan, holders: Sequence[Holder]) -> None:
    """Print a plan: one line for each thing that goes; what stays grouped by instance and reason."""
    names = {(holder.claim.id, root): holder.claim.worktree for holder in holders for root in holder.claim.roots}
    if plan.goes:
        title = f"{len(plan.goes)} things go, {inventory.megabytes(plan.size)}"
        report.table(GOES, [_row(decision, names) for decision in plan.goes], title=title)
    if plan.stays:
        report.table(STAYS, list(_grouped(plan.stays, names)), title="")
    for note in plan.notes:
        report.warn(note)
    for unseen in plan.unseen if plan.blind else ():
        report.warn(f"not seen: {unseen}")


def as_document(plan: Plan, outcome: Outcome | None, left: Sequence[tuple[Thing, str]]) -> dict[str, Any]:
    """Describe a plan, and what came of it, for machines."""
    document: dict[str, Any] = {
        "clean_up": plan.scope.name,
        "project": plan.project,
        "instance": plan.scope.instance,
        "dry_run": outcome is None,
        "bytes": plan.size,
        "goes": [_described(decision.thing, decision.reason) for decision in plan.goes],
        "stays": [_described(decision.thing, decision.reason) for decision in plan.stays],
        "notes": list(plan.notes),
        "unseen": list(plan.unseen),
    }
    if outcome is not None:
        document["gone"] = [_described(thing, "") for thing in outcome.gone]
        document["spared"] = [_described(thing, reason) for thing, reason in outcome.spared]
        document["left"] = [_described(thing, reason) for thing, reason in left]
    return document


def as_notes(report: Report, outcome: Outcome) -> None:
    """Say what went, and what was left alone because it had changed."""
    for thing in outcome.gone:
        report.note(f"{_VERBS.get(thing.kind, 'removed')} {told(thing)}")
    for thing, reason in outcome.spared:
        report.warn(f"{told(thing)} is left alone: {reason}")


def told(thing: Thing) -> str:
    """Name a thing in an error or a note."""
    return f"{thing.kind} {thing.name}"


def _row(decision: Decision, names: Mapping[tuple[int, str], str]) -> list[str]:
    thing = decision.thing
    size = inventory.megabytes(thing.size) if thing.size is not None else ""
    return [thing.kind, thing.name, _instance(thing, names), size, decision.reason]


def _grouped(decisions: Iterable[Decision], names: Mapping[tuple[int, str], str]) -> Iterable[list[str]]:
    groups: dict[tuple[str, str], list[Thing]] = {}
    for decision in sorted(decisions, key=lambda decision: decision.thing.instance):
        groups.setdefault((_instance(decision.thing, names), decision.reason), []).append(decision.thing)
    for (instance, reason), things in groups.items():
        counts: dict[str, int] = {}
        for thing in things:
            counts[thing.kind] = counts.get(thing.kind, 0) + 1
        words = [f"{count} {_PLURALS.get(kind, kind + 's') if count > 1 else kind}" for kind, count in counts.items()]
        yield [instance, ", ".join(words), reason]


def _instance(thing: Thing, names: Mapping[tuple[int, str], str]) -> str:
    return f"{thing.instance} ({names.get((thing.instance, thing.root), thing.root)})"


def _described(thing: Thing, reason: str) -> dict[str, Any]:
    return {
        "kind": thing.kind,
        "name": thing.name,
        "component": thing.component,
        "instance": thing.instance,
        "root": thing.root,
        "bytes": thing.size,
        "reason": reason,
    }
