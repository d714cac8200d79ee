"""Which instance is this checkout: the first of environment, `.env`, claim, linked worktree, main checkout.

The hash of a worktree's name is only a preference. Ids are claimed, so that no two checkouts share one.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.identity import allocation as claiming
from orienter_tasks.identity.claims import held_by_root

if TYPE_CHECKING:
    from orienter_tasks.identity.allocation import Question
    from orienter_tasks.identity.claims import Claim, Claims


_ID = re.compile(r"0|[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Identity:
    """The answer: the claim that this checkout holds, where its id came from, and what the user should be told."""

    claim: Claim
    source: str
    notes: tuple[str, ...] = ()


def parse_id(text: str, highest: int, where: str) -> int:
    """Validate an explicit id.

    Raises:
        ConfigError: unless it is an integer in 0 to `highest`, written plainly: what reads `03` as octal, or not at
            all, would have another instance in mind.
    """
    if not _ID.fullmatch(text) or int(text) > highest:
        raise ConfigError(
            f"{where}: {text!r} is not an instance id", hint=f"use an integer from 0 to {highest}, or unset it"
        )
    return int(text)


def explicit_id(question: Question) -> tuple[int, str] | None:
    """Return the id that the environment or `.env` asks for, and which of the two.

    Raises:
        ConflictError: for an id that was exported for another checkout.
    """
    highest = question.settings.instances.max
    inherited = question.environ.get("AI_INSTANCE_ID", "")
    if inherited:
        number = parse_id(inherited, highest, "AI_INSTANCE_ID in the environment")
        origin = question.environ.get("AI_INSTANCE_ROOT", "")
        if origin and os.path.realpath(origin) != str(question.root):
            raise ConflictError(
                f"AI_INSTANCE_ID={inherited} was exported for {origin}, but this checkout is {question.root}",
                hint="run: unset AI_INSTANCE_ID AI_INSTANCE_ROOT, or use a fresh shell",
            )
        return number, "environment"
    written = question.dotenv.get("AI_INSTANCE_ID", "")
    return (parse_id(written, highest, "AI_INSTANCE_ID in .env"), ".env") if written else None


def resolve(question: Question, claims: Claims) -> Identity:
    """Say which instance a checkout is, claiming its id when it holds none yet.

    Raises:
        ConfigError: for an id that is none.
        ConflictError: for an id that is another checkout's, or when all ids are taken.
    """
    asked = explicit_id(question)
    known = claims.read()
    held = _held(question, known, asked)
    if held is not None and claiming.refreshed(question, held, known, quiet=True) == held:
        return Identity(held, asked[1] if asked else "claim", tuple(question.notes))
    with claims.changing() as book:
        held = _held(question, book, asked)
        if held is not None:
            claim, source = claiming.refreshed(question, held, book), asked[1] if asked else "claim"
            book[book.index(held)] = claim
        else:
            claim, source = claiming.claim_new(question, book, asked)
            book.append(claim)
    return Identity(claim, source, tuple(question.notes))


def settle_backend(question: Question, claims: Claims, claim: Claim, backend: str) -> Claim:
    """Remember which backend an instance has, and the ports that follow from it; note its use."""
    with claims.changing() as book:
        settled = claiming.settled(question, claim, book, backend)
        book[:] = [*(other for other in book if other.token != claim.token), settled]
    return settled


def _held(question: Question, book: list[Claim], asked: tuple[int, str] | None) -> Claim | None:
    project = question.settings.project
    if asked is None:
        return held_by_root(book, question.root, project)
    mine = [claim for claim in book if claim.project == project and claim.id == asked[0]]
    return next((claim for claim in mine if claim.root == str(question.root)), None)
