"""One clean-up from beginning to end: look, plan, show, ask, act, look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orienter_tasks.commands.cleanup.execute import ExecutionOptions, Outcome, carry_out
from orienter_tasks.commands.cleanup.kinds import KINDS
from orienter_tasks.commands.cleanup.plan import make
from orienter_tasks.commands.cleanup.render import as_document, as_notes, as_text
from orienter_tasks.commands.cleanup.snapshot import Viewpoint, measure, read
from orienter_tasks.errors import BackendError, CheckError, ConfigError, NotFoundError
from orienter_tasks.machine.state import locked

if TYPE_CHECKING:
    from orienter_tasks.commands.cleanup.model import Resource, Scope, Snapshot
    from orienter_tasks.commands.cleanup.plan import CleanupPlan
    from orienter_tasks.lifecycle.context import RunContext

LOCK = "cleanup"


def clean_up(ctx: RunContext, scope: Scope, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Clean up, or say what a clean-up would do.

    Raises:
        ConfigError: nobody can be asked, or the answer is no; nothing was touched.
        NotFoundError: the instance that was named does not exist.
        ConflictError: another clean-up, or a command on the instance that was named, does not end.
        CheckError: something did not go.
        BackendError: all that could be seen went, but the engine could not be asked.
    """
    if as_json and not (dry_run or yes):
        raise ConfigError("--json cannot ask", hint="add --dry-run or --yes")
    view = _viewpoint(ctx)
    if dry_run:
        _show(ctx, *_look(view, scope), as_json=as_json)
        return

    def waiting(holder: str) -> None:
        ctx.report.warn(f"waiting for {holder}")

    seconds = ctx.settings.timeouts.lock
    with locked(LOCK, timeout=seconds, on_wait=waiting):
        plan, snapshot = _look(view, scope)
        if not as_json:
            _show(ctx, plan, snapshot, as_json=False)
        if plan.goes and not yes:
            _ask(ctx, plan)
        outcome = carry_out(plan, snapshot, view, ExecutionOptions(ctx.grace, seconds, waiting))
        left = _look_again(view, plan, outcome)
    if as_json:
        ctx.report.json(as_document(plan, outcome, left))
    else:
        as_notes(ctx.report, outcome)
    _conclude(ctx, plan, left)


def _viewpoint(ctx: RunContext) -> Viewpoint:
    from orienter_tasks.backends.docker import engine

    return Viewpoint(ctx.settings.project, ctx.claims, ctx.root, engine.shared(), KINDS)


def _look(view: Viewpoint, scope: Scope) -> tuple[CleanupPlan, Snapshot]:
    snapshot = read(view, scope)
    plan = make(scope, snapshot)
    if scope.instance is not None and not plan.decisions:
        unseen = f" ({snapshot.unseen[0]})" if snapshot.unseen else ""
        raise NotFoundError(f"{view.project} has no instance {scope.instance}{unseen}", hint="see: inv instances")
    return measure(plan, view), snapshot


def _show(ctx: RunContext, plan: CleanupPlan, snapshot: Snapshot, *, as_json: bool) -> None:
    if as_json:
        ctx.report.json(as_document(plan))
        return
    if plan.decisions:
        ctx.report.answer(as_text(plan, snapshot.holders))
    for note in plan.notes:
        ctx.report.warn(note)
    for unseen in plan.unseen if plan.blind else ():
        ctx.report.warn(f"not seen: {unseen}")
    if not plan.goes:
        ctx.report.note(f"nothing of {plan.project} is to be cleaned up")


def _ask(ctx: RunContext, plan: CleanupPlan) -> None:
    """Ask whether to go on: everything goes only for the project's name."""
    word = plan.project if plan.scope.name == "all" else ""
    question = f"type {word} to remove all this:" if word else "do this?"
    if not ctx.report.confirm(question, refusal=f"cleanup.{plan.scope} would remove the above", word=word):
        raise ConfigError("nothing was stopped or removed")


def _look_again(view: Viewpoint, plan: CleanupPlan, outcome: Outcome) -> list[tuple[Resource, str]]:
    """Return what did not go, with the reason: what failed, and what is still there, or there again."""
    snapshot = read(view, plan.scope)
    left = {_id(resource): (resource, error.line()) for resource, error in outcome.failed}
    planned = {_id(decision.resource) for decision in plan.goes}
    still = [resource for resource in snapshot.resources if _id(resource) in planned]
    due = [decision.resource for decision in make(plan.scope, snapshot).goes]
    skipped = {_id(resource) for resource, _ in outcome.skipped}
    for resource in (*still, *due):
        if _id(resource) not in skipped:
            left.setdefault(_id(resource), (resource, "it is still there"))
    return list(left.values())


def _id(resource: Resource) -> tuple[str, str]:
    return resource.kind.name, resource.key


def _conclude(ctx: RunContext, plan: CleanupPlan, left: list[tuple[Resource, str]]) -> None:
    if left:
        raise CheckError(
            f"{len(left)} of {len(plan.goes)} to clean up of {plan.project} did not go",
            hint="deal with the reasons below, then run this again",
            details=[f"  {resource}: {reason}" for resource, reason in left],
        )
    if plan.blind:
        raise BackendError(
            f"clean-up of {plan.project} is not complete: {plan.unseen[0]}",
            hint="start the engine, then run this again",
        )
    if plan.goes:
        count = len(plan.goes)
        ctx.report.note(f"{count} {'thing' if count == 1 else 'things'} of {plan.project} cleaned up")
