"""Plans and outcomes as people and machines read them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from orienter_tasks.commands.cleanup.model import printable
from orienter_tasks.output.units import megabytes, space

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orienter_tasks.commands.cleanup.execute import Outcome
    from orienter_tasks.commands.cleanup.model import Holder, Resource
    from orienter_tasks.commands.cleanup.plan import CleanupPlan, Decision
    from orienter_tasks.output.console import Report


def as_text(plan: CleanupPlan, holders: Sequence[Holder]) -> str:
    """Write a plan for people: each resource that goes, below its instance and reason; what stays is counted."""
    names = {(holder.claim.id, root): holder.claim.worktree for holder in holders for root in holder.claim.roots}
    lines = []
    if plan.goes:
        count = len(plan.goes)
        lines.append(f"{count} thing{'' if count == 1 else 's'} go{'es' if count == 1 else ''}, {_size(plan.size)}:")
    for (instance, reason), resources in _grouped(plan.goes, names):
        lines.append(f"  {instance}: {reason}")
        for resource in resources:
            size = f"  {_size(resource.size)}" if resource.size is not None else ""
            lines.append(f"    {resource.kind.name.ljust(9)}  {printable(resource.name)}{size}")
    if plan.stays:
        lines.append("stays:")
    for (instance, reason), resources in _grouped(plan.stays, names):
        counts = Counter(resource.kind for resource in resources)
        kinds = ", ".join(kind.count(number) for kind, number in counts.items())
        lines.append(f"  {instance}: {kinds}: {reason}")
    return "\n".join(lines)


def as_document(
    plan: CleanupPlan, outcome: Outcome | None = None, left: Sequence[tuple[Resource, str]] = ()
) -> dict[str, Any]:
    """Describe a plan, and what came of it, for machines."""
    document: dict[str, Any] = {
        "clean_up": plan.scope.name,
        "project": plan.project,
        "instance": plan.scope.instance,
        "dry_run": outcome is None,
        "bytes": plan.size,
        "goes": [_described(decision.resource, decision.reason) for decision in plan.goes],
        "stays": [_described(decision.resource, decision.reason) for decision in plan.stays],
        "notes": list(plan.notes),
        "unseen": list(plan.unseen),
    }
    if outcome is not None:
        document["gone"] = [_described(resource, "") for resource in outcome.gone]
        document["spared"] = [_described(resource, reason) for resource, reason in outcome.skipped]
        document["left"] = [_described(resource, reason) for resource, reason in left]
    return document


def as_notes(report: Report, outcome: Outcome) -> None:
    """Say what went, and what was left alone because it had changed."""
    for resource in outcome.gone:
        report.note(f"{resource.kind.verbs[1]} {resource}")
    for resource, reason in outcome.skipped:
        report.warn(f"{resource} is left alone: {reason}")


def _grouped(
    decisions: Iterable[Decision], names: Mapping[tuple[int, str], str]
) -> Iterable[tuple[tuple[str, str], list[Resource]]]:
    """Put resources of one instance with one reason together, in the order of ids."""
    groups: dict[tuple[str, str], list[Resource]] = {}
    for decision in sorted(decisions, key=lambda decision: decision.resource.instance):
        resource = decision.resource
        whose = names.get((resource.instance, resource.root), resource.root)
        name = f"instance {resource.instance} ({printable(whose)})"
        groups.setdefault((name, decision.reason), []).append(resource)
    return groups.items()


def _size(size: int) -> str:
    return space(size) if size else megabytes(size)


def _described(resource: Resource, reason: str) -> dict[str, Any]:
    return {
        "kind": resource.kind.name,
        "name": resource.name,
        "component": resource.component,
        "instance": resource.instance,
        "root": resource.root,
        "bytes": resource.size,
        "reason": reason,
    }
