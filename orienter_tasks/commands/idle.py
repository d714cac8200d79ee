"""`inv dev.stop --idle 2h`: stop what nobody has used for that long, and say why the rest stays.

What cannot be seen stays. Whether an instance is idle is asked again once it is locked, right before it is stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.stop import claims_to_stop, never_started
from orienter_tasks.errors import ConfigError, ConflictError, OrienterError
from orienter_tasks.identity import checkouts
from orienter_tasks.identity.checkouts import CheckoutState
from orienter_tasks.machine.state import is_locked
from orienter_tasks.observe.scan import scan
from orienter_tasks.output.tables import Column
from orienter_tasks.output.units import ago

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.observe.model import ObservedInstance


class Judgement(msgspec.Struct, frozen=True):
    """What becomes of an instance: `outcome` says so for people; it `stays`, or may be stopped."""

    found: ObservedInstance
    outcome: str
    stays: bool


COLUMNS: list[Column[Judgement]] = [
    Column("id", lambda each: str(each.found.instance.id), right=True),
    Column("worktree", lambda each: each.found.instance.worktree, least=14),
    Column("state", lambda each: each.found.state),
    Column("outcome", lambda each: each.outcome, wrap=True),
]


def stop_idle(ctx: RunContext, limit: float, *, every: bool, volumes: bool, dry: bool) -> None:
    """Stop this instance, or every one of the project, that was idle for at least `limit` seconds.

    Raises:
        ConfigError: data was to go, too.
        OrienterError: one could not be stopped.
    """
    if volumes:
        raise ConfigError("--idle only stops instances: their data stays", hint="leave --volumes out")
    claims = _claims(ctx, every=every)
    verdicts = [_judged(found, limit) for found in scan(claims, use=True).instances]
    failures: list[OrienterError] = []
    if not dry:
        verdicts, failures = _carried_out(ctx, verdicts, limit)
    if verdicts:
        ctx.report.table(COLUMNS, verdicts)
    else:
        ctx.report.note("no instance is running")
    for failure in failures[1:]:
        ctx.report.error(failure)
    if failures:
        raise failures[0]


def _claims(ctx: RunContext, *, every: bool) -> Sequence[Claim]:
    if every:
        return claims_to_stop(ctx, volumes=False)
    return [] if never_started(ctx) else [ctx.current.claim]


def _judged(found: ObservedInstance, limit: float) -> Judgement:
    """Say whether an instance that nobody starts or stops right now may be stopped."""
    under_way = "something starts, stops or changes it now" if is_locked(found.instance.lock) else ""
    reason = under_way or why_not(found, limit)
    return Judgement(found, f"stays: {reason}" if reason else f"would stop: {_idle_for(found)}", stays=bool(reason))


def why_not(found: ObservedInstance, limit: float) -> str:
    """Return why an instance must not be stopped as an idle one; "" if it may."""
    use, checkout = found.use, checkouts.judge(found.claim, [Path(found.claim.root)])
    if checkout.state is not CheckoutState.HERE:
        return f"{checkout.reason} → {checkouts.remedy(found.claim, checkout)}"
    if use is None or use.idle is None:
        return f"it is not known whether it is used: {use.unknown if use else 'nobody looked'}"
    if found.state == "stopped":
        return "it does not run"
    if use.now:
        return f"in use: {', '.join(use.now)}"
    return "" if use.idle >= limit else f"used {ago(use.at)} ago"


def _carried_out(
    ctx: RunContext, verdicts: Sequence[Judgement], limit: float
) -> tuple[list[Judgement], list[OrienterError]]:
    from orienter_tasks.machine.threads import map_in_threads

    done = map_in_threads(lambda each: (each, None) if each.stays else _stopped(ctx, each, limit), verdicts)
    return [verdict for verdict, _ in done], [failure for _, failure in done if failure is not None]


def _stopped(ctx: RunContext, verdict: Judgement, limit: float) -> tuple[Judgement, OrienterError | None]:
    from orienter_tasks.lifecycle.stop import stop_other

    claim, used = verdict.found.claim, []

    def require_idle() -> None:
        reason = why_not(scan([claim], use=True).instances[0], limit)
        if reason:
            used.append(reason)
            raise ConflictError(f"{verdict.found.instance} stays: {reason}")

    failure = stop_other(claim, ctx.settings, ctx.claims, ctx.grace, require_idle)
    if used:
        return Judgement(verdict.found, f"stays: {used[0]}", stays=True), None
    outcome = "not stopped" if failure else f"stopped: {_idle_for(verdict.found)}"
    return Judgement(verdict.found, outcome, stays=bool(failure)), failure


def _idle_for(found: ObservedInstance) -> str:
    return f"idle for {ago(found.use.at)}" if found.use else ""
