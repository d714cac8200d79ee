"""Which instance is this checkout: the first of environment, `.env`, claim, linked worktree, main checkout.

The hash of a worktree's name is only a preference. Ids are claimed, so that no two checkouts share one.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks import claims as claim_book, worktree
from orienter_tasks.cksum import cksum
from orienter_tasks.claims import Claim, Claims
from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.instance import PRIVILEGED_NGINX_MOVE, port_plan
from orienter_tasks.settings import PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orienter_tasks.settings import Settings
    from orienter_tasks.worktree import Worktree

HASH_SLOTS = 9
MARKER = "claim"


@dataclass(frozen=True)
class Identity:
    """The answer: the claim that this checkout holds, where its id came from, and what the user should be told."""

    claim: Claim
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """What the answer depends on.

    Attributes:
        root: the checkout's real path.
        settings: the host's settings.
        environ: the process environment.
        dotenv: what the checkout's `.env` says.
        unbindable: whether nginx may not bind a port (asked below 1024 only), on a backend ("": the likely one).
        leftovers: whether anything of a claim still stands; True where that cannot be seen.
    """

    root: Path
    settings: Settings
    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    unbindable: Callable[[int, str], bool]
    leftovers: Callable[[Claim], bool]
    notes: list[str] = field(default_factory=list)


def worktree_name(tree: Worktree) -> str | None:
    """Return the name whose hash is the preferred id; None for a main checkout.

    Below `…/claude-worktrees/<repo>/<name>` that is `<name>`; for any other linked worktree its directory's name.
    """
    parts = tree.root.parts
    for index in range(len(parts) - 3, 0, -1):
        if parts[index] == "claude-worktrees":
            return parts[index + 2]
    return tree.root.name if tree.linked else None


def preferred_id(tree: Worktree, highest: int) -> int:
    """Return the id that a checkout would like: 0, or the POSIX cksum of its name modulo 9 plus 1."""
    name = worktree_name(tree)
    if name is None or highest == 0:
        return 0
    return cksum(os.fsencode(name)) % min(HASH_SLOTS, highest) + 1


def parse_id(text: str, highest: int, where: str) -> int:
    """Validate an explicit id.

    Raises:
        ConfigError: unless it is an integer in 0 to `highest`, written plainly.
    """
    if not text.isascii() or not text.isdigit() or int(text) > highest:
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
    if held is not None and _up_to_date(question, held, known):
        return Identity(held, asked[1] if asked else "claim", tuple(question.notes))
    with claims.changing() as book:
        held = _held(question, book, asked)
        if held is not None:
            claim, source = _refreshed(question, held, book), asked[1] if asked else "claim"
            book[book.index(held)] = claim
        else:
            claim, source = _claim_new(question, book, asked)
            book.append(claim)
    return Identity(claim, source, tuple(question.notes))


def _held(question: Question, book: list[Claim], asked: tuple[int, str] | None) -> Claim | None:
    project = question.settings.project
    if asked is None:
        return claim_book.held_by_root(book, question.root, project)
    mine = [claim for claim in book if claim.project == project and claim.id == asked[0]]
    return next((claim for claim in mine if claim.root == str(question.root)), None)


def _up_to_date(question: Question, claim: Claim, book: list[Claim]) -> bool:
    return _refreshed(question, claim, book, quiet=True) == claim


def _refreshed(question: Question, claim: Claim, book: list[Claim], *, quiet: bool = False) -> Claim:
    """Follow the settings: ports, and the limits of who may bind what."""
    if claim.id > question.settings.instances.max:
        raise ConfigError(
            f"this checkout holds id {claim.id}, but orienter.instances.max is {question.settings.instances.max}",
            hint="raise it, or free the id with: inv cleanup.instance " + str(claim.id),
        )
    others = [other for other in book if other.token != claim.token]
    moved = dict(claim.moved) if claim.backend else moved_ports(question, claim.id, others)
    ports = port_plan(question.settings, claim.id, moved)
    other = claim_book.in_the_way(others, claim.project, claim.id, list(ports.values()))
    if other is not None and ports != claim.ports:
        raise ConflictError(
            f"the ports of instance {claim.id} ({claim.root}) meet those of instance {other.id} ({other.root})",
            hint="change orienter.ports back, or free the other with: inv cleanup.instance",
        )
    if moved != claim.moved and not quiet:
        _tell_moved(question, moved)
    return msgspec.structs.replace(claim, ports=ports, moved=moved)


def settle_backend(question: Question, claims: Claims, claim: Claim, backend: str) -> Claim:
    """Remember which backend an instance has, and the ports that follow from it; note its use."""
    with claims.changing() as book:
        others = [other for other in book if other.token != claim.token]
        moved = dict(claim.moved)
        if backend != claim.backend:
            moved = moved_ports(question, claim.id, others, backend)
            _tell_moved(question, moved)
        settled = msgspec.structs.replace(
            claim,
            backend=backend,
            moved=moved,
            ports=port_plan(question.settings, claim.id, moved),
            used_at=time.time(),
        )
        book[:] = [*others, settled]
    return settled


def moved_ports(question: Question, instance_id: int, others: list[Claim], backend: str = "") -> dict[str, int]:
    """Return the ports that cannot follow the formula: nginx's, where it may not bind one below 1024."""
    base = question.settings.ports["nginx"]
    port = base + instance_id * PORT_STEP
    if port >= 1024 or not question.unbindable(port, backend):  # noqa: PLR2004 - the first unprivileged port
        return {}
    taken = {number for claim in others for number in claim.ports.values()}
    beyond_all = base + (question.settings.instances.max + 1) * PORT_STEP
    wanted = port + PRIVILEGED_NGINX_MOVE
    return {"nginx": beyond_all if wanted in taken else wanted}


def _tell_moved(question: Question, moved: Mapping[str, int]) -> None:
    if moved:
        low = question.settings.ports["nginx"]
        question.notes.append(f"nginx may not bind port {low} without privileges: it is on {moved['nginx']}")


def _claim_new(question: Question, book: list[Claim], asked: tuple[int, str] | None) -> tuple[Claim, str]:
    tree = worktree.read(question.root)
    if asked is not None:
        return _claim_asked(question, book, tree, asked), asked[1]
    moved = _moved_here(question, book)
    if moved is not None:
        question.notes.append(f"this checkout was moved here from {moved.root}; it keeps instance {moved.id}")
        book.remove(moved)
        now_here = _fields(question, tree, moved.id, book)
        former = (*moved.former_roots, moved.root)
        return msgspec.structs.replace(
            now_here, token=moved.token, backend=moved.backend, former_roots=former, claimed_at=moved.claimed_at
        ), "claim"
    preferred = preferred_id(tree, question.settings.instances.max)
    for candidate in _candidates(preferred, question.settings.instances.max):
        claim = _fields(question, tree, candidate, book)
        other = _blocker(question, book, claim)
        if other is None:
            if candidate != preferred:
                holder = claim_book.in_the_way(book, claim.project, preferred, [])
                who = f"is held by {holder.root}" if holder else "has ports of another project"
                question.notes.append(f"id {preferred} {who}; this checkout is instance {candidate} from now on")
            _tell_moved(question, claim.moved)
            return claim, "worktree" if worktree_name(tree) is not None else "main checkout"
    raise claim_book.all_taken(book, question.settings.project, question.settings.instances.max)


def _claim_asked(question: Question, book: list[Claim], tree: Worktree, asked: tuple[int, str]) -> Claim:
    claim = _fields(question, tree, asked[0], book)
    other = _blocker(question, book, claim)
    if other is None:
        return claim
    state = "which is gone but has left data" if worktree.is_gone(Path(other.root), other.device) else "which exists"
    raise ConflictError(
        f"id {asked[0]} ({asked[1]}: AI_INSTANCE_ID) cannot go to {question.root}: instance {other.id} of "
        f"{other.project} holds it or its ports for {other.root}, {state}",
        hint=f"choose another id, or free it with: inv cleanup.instance {other.id}",
    )


def _blocker(question: Question, book: list[Claim], claim: Claim) -> Claim | None:
    """Return who is in the way of a claim, after forgetting claims of which nothing is left."""
    while True:
        other = claim_book.in_the_way(book, claim.project, claim.id, list(claim.ports.values()))
        if other is None or not worktree.is_gone(Path(other.root), other.device) or question.leftovers(other):
            return other
        book.remove(other)


def _candidates(preferred: int, highest: int) -> Iterator[int]:
    yield preferred
    for step in range(1, highest + 1):
        candidate = (preferred - 1 + step) % highest + 1 if preferred else step
        if candidate != preferred:
            yield candidate


def _moved_here(question: Question, book: list[Claim]) -> Claim | None:
    """Find the claim that this checkout took with it: its token lies in DATA_DIR and its old root is gone."""
    for marker in question.root.glob(f".dev-data/instance-*/{MARKER}"):
        token = marker.read_text(encoding="utf-8", errors="replace").strip()
        for claim in book:
            same = claim.token == token and claim.project == question.settings.project
            if same and not Path(claim.root).exists():
                return claim
    return None


def _fields(question: Question, tree: Worktree, instance_id: int, book: list[Claim]) -> Claim:
    moved = moved_ports(question, instance_id, book)
    now = time.time()
    return Claim(
        token=claim_book.new_token(),
        project=question.settings.project,
        id=instance_id,
        root=str(question.root),
        worktree=worktree_name(tree) or question.root.name,
        main_root=str(tree.main_root),
        git_dir=str(tree.git_dir or ""),
        device=worktree.device_of(question.root),
        ports=port_plan(question.settings, instance_id, moved),
        moved=moved,
        claimed_at=now,
        used_at=now,
    )
