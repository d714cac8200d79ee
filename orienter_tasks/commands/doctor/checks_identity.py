"""Which instance this is and why, and whether the claims of all checkouts are still right."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.remedies import comment_out
from orienter_tasks.identity.allocation import preferred_id, worktree_name
from orienter_tasks.identity.checkouts import CheckoutState, remedy
from orienter_tasks.machine import worktree
from orienter_tasks.output.checks import Check
from orienter_tasks.settings import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.commands.cleanup.model import Snapshot
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.instance.model import Instance
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.machine.worktree import Worktree

FRESH_SHELL = "unset AI_INSTANCE_ID AI_INSTANCE_ROOT"
SOURCES = {
    "environment": "AI_INSTANCE_ID in the environment",
    ".env": "AI_INSTANCE_ID in .env",
    "claim": "the claim that this checkout holds",
    "worktree": "its worktree's name",
    "main checkout": "it is a main checkout",
}


def provenance(ctx: RunContext) -> Iterator[Check]:
    """Say which instance this is, and where its id came from."""
    claim, source = ctx.current.claim, ctx.source_of_id
    words = f"instance {claim.id} of {claim.project}, from {SOURCES.get(source, source)}"
    tree = worktree.read(ctx.root)
    if source == "environment" and not os.environ.get("AI_INSTANCE_ROOT"):
        yield Check(
            "instance",
            "warning",
            f"{words}: it was exported without AI_INSTANCE_ROOT and follows this shell into other checkouts",
            f"{FRESH_SHELL}; to keep the id: echo AI_INSTANCE_ID={claim.id} >> .env",
        )
    elif tree.linked and claim.id == 0:
        yield _zero(ctx, tree, words)
    else:
        yield Check("instance", "ok", words)


def _zero(ctx: RunContext, tree: Worktree, words: str) -> Check:
    likes = preferred_id(tree, ctx.settings.instances.max)
    if likes == 0:
        words = f"{words}, although this is a linked worktree: orienter.instances.max is 0"
        return Check("instance", "warning", words, "raise it in invoke.yaml")
    words = f"{words}, although this is the linked worktree {worktree_name(tree)}, which would be {likes}"
    cures = {"environment": FRESH_SHELL, ".env": comment_out("AI_INSTANCE_ID")}
    cure = cures.get(ctx.source_of_id, f"echo AI_INSTANCE_ID={likes} >> .env")
    return Check("instance", "warning", words, cure)


def inherited(ctx: RunContext) -> Iterator[Check]:
    """Find another instance's variables in this shell, which programs started by hand would use."""
    values = ctx.current.config.variables.values
    foreign = [
        name for name in _leading(ctx.current.instance) if name in os.environ and os.environ[name] != values.get(name)
    ]
    if foreign:
        words = f"this shell has another {', '.join(foreign)} than this instance: what you start by hand goes elsewhere"
        yield Check("shell", "warning", words, 'eval "$(inv env.export)"')


def _leading(instance: Instance) -> Iterator[str]:
    """Name the variables that lead a program to an instance: addresses, ports, names."""
    for entry in map(catalog.entry_of, instance.infra):
        yield from (name for name, value in entry.variables.items() if "://" in value)
        yield from (f"{entry.port.upper()}_PORT", *entry.numbered)
    yield "DATA_DIR"


def doubles(ctx: RunContext) -> Iterator[Check]:
    """Find ids and ports held by more than one claim; each group of claims is reported once."""
    by_id: dict[str, list[Claim]] = defaultdict(list)
    by_port: dict[str, list[Claim]] = defaultdict(list)
    for claim in ctx.claims.read():
        by_id[f"id {claim.id} of {claim.project}"].append(claim)
        for port in claim.ports.values():
            by_port[f"port {port}"].append(claim)
    told: set[frozenset[str]] = set()
    for what, held in {**by_id, **by_port}.items():
        tokens = frozenset(claim.token for claim in held)
        if len(held) > 1 and tokens not in told:
            told.add(tokens)
            names = [one.root if what in by_id else f"instance {one.id} of {one.project} ({one.root})" for one in held]
            yield Check("claims", "problem", f"{what} is claimed by {' and '.join(names)}", _part(held))


def _part(held: Sequence[Claim]) -> str:
    last = max(held, key=lambda claim: claim.claimed_at)
    return f"cd {last.root} && inv dev.stop, then take another id there: echo AI_INSTANCE_ID=N >> .env"


def checkouts(ctx: RunContext, snapshot: Snapshot) -> Iterator[Check]:
    """Report the state of the checkouts that hold an id."""
    fine = []
    for holder in snapshot.holders:
        claim, checkout = holder.claim, holder.checkout
        if checkout.state is CheckoutState.HERE:
            fine.append(claim.id)
        else:
            words = f"instance {claim.id} of {claim.root}: {checkout.reason}"
            yield Check("claims", "warning", words, remedy(claim, checkout))
    if fine:
        yield Check("claims", "ok", f"{', '.join(map(str, sorted(fine)))} of {snapshot.project} have their checkouts")
    own = ctx.current.claim
    for other in ctx.claims.read():
        if other.root == own.root and other.project == own.project and other.id != own.id:
            words = f"this checkout also holds id {other.id}, which it had before"
            yield Check("claims", "warning", words, f"inv cleanup.instance {other.id}")
