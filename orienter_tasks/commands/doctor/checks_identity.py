"""Which instance this is and why, and whether the claims of all checkouts still say what is so."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from orienter_tasks.commands.doctor.finding import Finding, drop_line
from orienter_tasks.identity.allocation import preferred_id, worktree_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orienter_tasks.commands.cleanup.model import Snapshot
    from orienter_tasks.commands.doctor.context import Situation
    from orienter_tasks.identity.claims import Claim

FRESH_SHELL = "unset AI_INSTANCE_ID AI_INSTANCE_ROOT"
SOURCES = {
    "environment": "AI_INSTANCE_ID in the environment",
    ".env": "AI_INSTANCE_ID in .env",
    "claim": "the claim that this checkout holds",
    "worktree": "its worktree's name",
    "main checkout": "it is a main checkout",
}
EXPORTED = ("DATABASE_URL", "POSTGRES_PORT", "POSTGRES_DB", "NGINX_PORT", "S3_BUCKET", "AWS_ENDPOINT_URL", "DATA_DIR")


def provenance(situation: Situation) -> Iterator[Finding]:
    """Say which instance this is, and where its id came from."""
    if situation.identity is None:
        return
    identity = situation.identity
    claim = identity.claim
    words = f"instance {claim.id} of {claim.project}, from {SOURCES.get(identity.source, identity.source)}"
    if identity.source == "environment" and not situation.environ.get("AI_INSTANCE_ROOT"):
        yield Finding(
            "warning",
            "instance",
            f"{words}: it was exported without AI_INSTANCE_ROOT and follows this shell into other checkouts",
            f"{FRESH_SHELL}; to keep the id: echo AI_INSTANCE_ID={claim.id} >> .env",
        )
    elif situation.tree.linked and claim.id == 0:
        yield Finding("warning", "instance", *_why_zero(situation, words))
    else:
        yield Finding("ok", "instance", words)


def inherited(situation: Situation) -> Iterator[Finding]:
    """Find variables of another instance in this shell: programs started by hand would use them."""
    if situation.config is None:
        return
    variables = situation.config.variables
    foreign = [
        name for name in EXPORTED if name in situation.environ and situation.environ[name] != variables.values.get(name)
    ]
    if foreign:
        yield Finding(
            "warning",
            "shell",
            f"this shell has another {', '.join(foreign)} than this instance: what you start by hand goes elsewhere",
            'eval "$(inv env.export)"',
        )


def doubles(situation: Situation) -> Iterator[Finding]:
    """Find ids and ports that two claims hold."""
    by_id: dict[tuple[str, int], list[Claim]] = defaultdict(list)
    by_port: dict[int, list[Claim]] = defaultdict(list)
    for claim in situation.claims:
        by_id[claim.project, claim.id].append(claim)
        for port in claim.ports.values():
            by_port[port].append(claim)
    told: set[frozenset[str]] = set()
    for (project, number), held in by_id.items():
        if len(held) > 1:
            told.add(frozenset(claim.token for claim in held))
            roots = " and ".join(claim.root for claim in held)
            yield Finding("problem", "claims", f"id {number} of {project} is claimed by {roots}", _part(held))
    for port, held in by_port.items():
        tokens = frozenset(claim.token for claim in held)
        if len(held) > 1 and tokens not in told:
            told.add(tokens)
            names = " and ".join(f"instance {claim.id} of {claim.project} ({claim.root})" for claim in held)
            yield Finding("problem", "claims", f"port {port} is claimed by {names}", _part(held))


def checkouts(situation: Situation, reality: Snapshot) -> Iterator[Finding]:
    """Say what became of the checkouts that hold an id."""
    from orienter_tasks.identity.checkouts import CheckoutState, remedy

    fine = []
    for holder in reality.holders:
        claim, checkout = holder.claim, holder.checkout
        if checkout.state is CheckoutState.HERE:
            fine.append(claim.id)
            continue
        words = f"instance {claim.id} of {claim.root}: {checkout.reason}"
        yield Finding("warning", "claims", words, remedy(claim, checkout))
    if fine:
        yield Finding("ok", "claims", f"{', '.join(map(str, sorted(fine)))} of {reality.project} have their checkouts")
    yield from _other_ids(situation)


def _other_ids(situation: Situation) -> Iterator[Finding]:
    if situation.identity is None:
        return
    claim = situation.identity.claim
    for other in situation.claims:
        if other.root == claim.root and other.project == claim.project and other.id != claim.id:
            yield Finding(
                "warning",
                "claims",
                f"this checkout also holds id {other.id}, which it had before",
                f"inv cleanup.instance {other.id}",
            )


def _why_zero(situation: Situation, words: str) -> tuple[str, str]:
    settings = situation.settings
    likes = preferred_id(situation.tree, settings.instances.max if settings is not None else 0)
    if likes == 0:
        return f"{words}, although this is a linked worktree: orienter.instances.max is 0", "raise it in invoke.yaml"
    name = worktree_name(situation.tree)
    source = situation.identity.source if situation.identity is not None else ""
    remedy = {"environment": FRESH_SHELL, ".env": drop_line("AI_INSTANCE_ID")}.get(
        source, f"echo AI_INSTANCE_ID={likes} >> .env"
    )
    return f"{words}, although this is the linked worktree {name}, which would be {likes}", remedy


def _part(held: list[Claim]) -> str:
    last = max(held, key=lambda claim: claim.claimed_at)
    return f"cd {last.root} && inv dev.stop, then take another id there: echo AI_INSTANCE_ID=N >> .env"
