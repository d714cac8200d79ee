"""Plans and outcomes as people and machines read them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orienter_tasks.observe import inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.commands.cleanup.execute import Outcome
    from orienter_tasks.commands.cleanup.model import Holder, Thing
    from orienter_tasks.commands.cleanup.plan import Decision, Plan
    from orienter_tasks.output.console import Report

MEGABYTE = 1_000_000
_PLURALS = {"process": "processes", "directory": "directories"}
_VERBS = {"log": "emptied", "process": "stopped", "claim": "released"}


def as_text(plan: Plan, holders: Sequence[Holder]) -> str:
    """Write a plan for people: each thing that goes, below its instance and reason; what stays is counted."""
    names = {(holder.claim.id, root): holder.claim.worktree for holder in holders for root in holder.claim.roots}
    lines = []
    if plan.goes:
        lines.append(f"{_count(len(plan.goes), 'thing')} go{'es' if len(plan.goes) == 1 else ''}, {_size(plan.size)}:")
    for (instance, reason), things in _grouped(plan.goes, names):
        lines.append(f"  {instance}: {reason}")
        for thing in things:
            size = f"  {_size(thing.size)}" if thing.size is not None else ""
            lines.append(f"    {thing.kind.ljust(9)}  {_printable(thing.name)}{size}")
    if plan.stays:
        lines.append("stays:")
    for (instance, reason), things in _grouped(plan.stays, names):
        counts = Counter(thing.kind for thing in things)
        kinds = ", ".join(_count(count, kind) for kind, count in counts.items())
        lines.append(f"  {instance}: {kinds}: {reason}")
    return "\n".join(lines)


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
    return f"{thing.kind} {_printable(thing.name)}"


def _grouped(
    decisions: Iterable[Decision], names: Mapping[tuple[int, str], str]
) -> Iterable[tuple[tuple[str, str], list[Thing]]]:
    """Put things of one instance with one reason together, in the order of ids."""
    groups: dict[tuple[str, str], list[Thing]] = {}
    for decision in sorted(decisions, key=lambda decision: decision.thing.instance):
        thing = decision.thing
        name = f"instance {thing.instance} ({_printable(names.get((thing.instance, thing.root), thing.root))})"
        groups.setdefault((name, decision.reason), []).append(thing)
    return groups.items()


def _printable(text: str) -> str:
    """Keep what stands in a label or a path from moving a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _count(count: int, kind: str) -> str:
    return f"{count} {kind}" if count == 1 else f"{count} {_PLURALS.get(kind, kind + 's')}"


def _size(size: int) -> str:
    return inventory.megabytes(size) if size >= MEGABYTE or not size else f"{max(1, round(size / 1000))} kB"


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
