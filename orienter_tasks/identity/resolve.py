"""Which instance a checkout is: the first of environment, `.env`, claim, linked worktree, main checkout.

The hash of a worktree's name is only a preference. Ids are claimed, so that no two checkouts share one.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import ConfigError, ConflictError, NotFoundError, OrienterError
from orienter_tasks.identity import allocation, checkouts, ownership, volumes
from orienter_tasks.machine import worktree
from orienter_tasks.settings.model import HIGHEST_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from orienter_tasks.identity.allocation import IdRequest
    from orienter_tasks.identity.claims import Claim, Claims
    from orienter_tasks.instance.backends import Backends

_ID = r"0|[1-9][0-9]{0,3}"


def parse_id(text: str, highest: int, where: str) -> int:
    """Validate an explicit id: an integer from 0 to `highest`.

    It must be written plainly: a program that reads `03` as octal, or rejects it, would use another instance.
    """
    if not re.fullmatch(_ID, text) or int(text) > highest:
        raise ConfigError(
            f"{where}: {text!r} is not an instance id", hint=f"use an integer from 0 to {highest}, or unset it"
        )
    return int(text)


def explicit_id(request: IdRequest, highest: int | None = None) -> tuple[int, str] | None:
    """Return the id that the environment or `.env` asks for, and which of the two; `highest`: the settings', or this.

    Raises:
        ConflictError: the id was exported for another checkout.
    """
    highest = request.settings.instances.max if highest is None else highest
    inherited = request.environ.get("AI_INSTANCE_ID", "")
    if inherited:
        number = parse_id(inherited, highest, "AI_INSTANCE_ID in the environment")
        origin = request.environ.get("AI_INSTANCE_ROOT", "")
        if origin and os.path.realpath(origin) != str(request.root):
            raise ConflictError(
                f"AI_INSTANCE_ID={inherited} was exported for {origin}, but this checkout is {request.root}",
                hint="run: unset AI_INSTANCE_ID AI_INSTANCE_ROOT, or use a fresh shell",
            )
        return number, "environment"
    written = request.dotenv.get("AI_INSTANCE_ID", "")
    return (parse_id(written, highest, "AI_INSTANCE_ID in .env"), ".env") if written else None


def source_of_id(request: IdRequest, book: list[Claim]) -> str:
    """Return what decides on a checkout's id, as long as nothing has been claimed since `book` was read."""
    for source, variables in (("environment", request.environ), (".env", request.dotenv)):
        if variables.get("AI_INSTANCE_ID"):
            return source
    if _held(request, book, None):
        return "claim"
    return "worktree" if allocation.worktree_name(worktree.read(request.root)) is not None else "main checkout"


def resolve(request: IdRequest, claims: Claims) -> Claim:
    """Return a checkout's claim; it claims an id if it has none yet.

    Raises:
        ConfigError: the id is invalid.
        ConflictError: the id belongs to another checkout, or all ids are taken.
    """
    asked = explicit_id(request)
    known = claims.read()
    held = _held(request, known, asked)
    if held is not None:
        _require_alone(request, known, held)
    if held is None or allocation.revalidated(request, held, known) != held:
        with claims.changing() as book:
            held = _updated(request, book, asked)
            _record(request, claims, held)
    return held


def look_up(request: IdRequest, claims: Claims) -> Claim:
    """Return a checkout's claim, to look at or to stop what it has.

    Where settings have changed such that a start would be refused, it is the claim as it is, and a note says so.
    """
    try:
        return resolve(request, claims)
    except (ConfigError, ConflictError) as error:
        try:
            held = _held(request, claims.read(), explicit_id(request, HIGHEST_ID))
        except OrienterError:
            held = None
        if held is None:
            raise
        _require_alone(request, claims.read(), held)
        request.note(f"a start would be refused: {error.line()}")
        return held


def acquire(request: IdRequest, claims: Claims, decide: Callable[[Claim], Backends]) -> Claim:
    """Return a checkout's claim with its backends, settled before anything is made there.

    `decide` returns the backends for a claim, or raises. It may have to ask a Docker engine, so no lock is held.
    """
    claim = resolve(request, claims)
    backends = decide(claim)
    with claims.changing() as book:
        held = next((other for other in book if other.token == claim.token), claim)
        if held.backends == claim.backends:
            _require_alone(request, book, held)
            settled = allocation.with_backends(request, held, book, backends)
            allocation.tell_moved(request, held.moved, settled.moved)
            _record(request, claims, settled)  # what an older version claimed is not written there
            book[:] = [*(other for other in book if other.token != claim.token), settled]
            return settled
    return acquire(request, claims, decide)  # another start has settled it in the meantime


def adopt(request: IdRequest, claims: Claims, number: int) -> Claim:
    """Make the claim of a checkout that is gone this checkout's own, with its id and whatever it has left.

    Raises:
        NotFoundError: nobody holds that id.
        ConflictError: its checkout is not known to be gone, or this checkout has data of its own.
    """
    with claims.changing() as book:
        own = _held(request, book, None)
        other = _adoptable(request, book, own, number)
        if own == other:
            return own
        _require_adoptable(request, other, own)
        book[:] = [claim for claim in book if claim not in (own, other)]
        claim = msgspec.structs.replace(allocation.revalidated(request, other, book), used_at=time.time())
        book.append(claim)
        _record(request, claims, claim)
        if not claims.read_only:
            volumes.mark_adopted(claim)
        return claim


def _adoptable(request: IdRequest, book: list[Claim], own: Claim | None, number: int) -> Claim:
    """Return the claim of an id: another checkout's, else the last that left volumes, else our own."""
    project = request.settings.project
    others = [claim for claim in book if claim.project == project and claim != own]
    parked = sorted(volumes.parked(project, book), key=lambda claim: claim.claimed_at, reverse=True)
    mine = [own] if own is not None else []
    found = [claim for claim in [*others, *parked, *mine] if claim.id == number]
    if not found:
        raise NotFoundError(f"no checkout of {project} holds id {number}, or has left data", hint="inv instances")
    return found[0]


def _require_adoptable(request: IdRequest, other: Claim, own: Claim | None) -> None:
    asked = explicit_id(request)
    if asked is not None and asked[0] != other.id:
        raise ConflictError(
            f"AI_INSTANCE_ID ({asked[1]}) says that this checkout is instance {asked[0]}, not {other.id}",
            hint="unset it, then run this again",
        )
    if not checkouts.is_gone(other):
        found = checkouts.judge(other)
        raise ConflictError(
            f"instance {other.id} belongs to {other.root}: {found.reason}", hint=checkouts.remedy(other, found)
        )
    native = other.backends.used == {"embedded"}  # what Docker has goes with the id
    if native and other.root != str(request.root) and request.leftovers(other):
        data, here = (Path(root) / ".dev-data" / f"instance-{other.id}" for root in (other.root, request.root))
        raise ConflictError(
            f"the data of instance {other.id} is in its old checkout: {data}",
            hint=f"move it here first: mv {shlex.quote(str(data))} {shlex.quote(str(here))}",
        )
    if own is not None and (any(volumes.of(own)) or request.leftovers(own)):
        raise ConflictError(
            f"this checkout is instance {own.id} and has data of its own, or something of it runs",
            hint="remove that first: inv dev.stop --volumes",
        )


def _record(request: IdRequest, claims: Claims, claim: Claim) -> None:
    if not claims.read_only:
        ownership.record(worktree.read(request.root), claim)


def _updated(request: IdRequest, book: list[Claim], asked: tuple[int, str] | None) -> Claim:
    """Return a checkout's claim, new or as it is to be now, and put it into the book."""
    held = _held(request, book, asked)
    if held is None:
        claim = allocation.claim_new(request, book, asked)
        _require_alone(request, book, claim)
        book.append(claim)
        return claim
    claim = allocation.revalidated(request, held, book)
    if claim.root != held.root:
        request.note(f"this checkout was moved here from {held.root}; it keeps instance {held.id}")
    allocation.tell_moved(request, held.moved, claim.moved)
    book[book.index(held)] = claim
    return claim


def _require_alone(request: IdRequest, book: list[Claim], claim: Claim) -> None:
    """Require that no other project in the same repository has the directories of the claim's id."""
    other = ownership.other_project(worktree.read(request.root), book, claim)
    if other:
        raise ConflictError(
            f"instance {claim.id} of {claim.project} cannot use {request.root}: the data and logs there are those of "
            f"instance {claim.id} of {other}, another project in the same repository",
            hint=f"give one of them another id: AI_INSTANCE_ID={claim.id + 1} inv dev; or the same orienter.project",
        )


def _held(request: IdRequest, book: list[Claim], asked: tuple[int, str] | None) -> Claim | None:
    eligible = [claim for claim in book if asked is None or claim.id == asked[0]]
    return ownership.held_by(worktree.read(request.root), eligible, request.settings.project)
