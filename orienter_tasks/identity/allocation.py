"""How a checkout comes by an id: the preferred one, the next that is free, or the one it had before it was moved."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import msgspec

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.identity.cksum import cksum
from orienter_tasks.identity.claims import Claim, all_taken, in_the_way, new_token
from orienter_tasks.instance.model import PRIVILEGED_NGINX_MOVE, port_plan
from orienter_tasks.machine import worktree
from orienter_tasks.settings.model import HIGHEST_PORT, PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orienter_tasks.machine.worktree import Worktree
    from orienter_tasks.settings.model import Settings

HASH_SLOTS = 9
MARKER = "claim"


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


class _Place(TypedDict):
    main_root: str
    git_dir: str
    device: int


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


def claim_new(question: Question, book: list[Claim], asked: tuple[int, str] | None) -> tuple[Claim, str]:
    """Make the claim of a checkout that has none: the id that was asked for, its former one, or a free one.

    Args:
        question: whose.
        book: all claims, locked; those of which nothing is left are taken out.
        asked: the id that must be taken, and where it was asked for.

    Returns:
        The claim, not yet in the book, and where its id came from.
    """
    tree = worktree.read(question.root)
    moved = _moved_here(question, book, asked)
    if moved is not None:
        return _follow(question, book, tree, moved), asked[1] if asked else "claim"
    if asked is not None:
        return _claim_asked(question, book, tree, asked), asked[1]
    return _claim_free(question, book, tree), "worktree" if worktree_name(tree) is not None else "main checkout"


def refreshed(question: Question, claim: Claim, book: list[Claim], *, quiet: bool = False) -> Claim:
    """Follow the settings (ports), the limits of who may bind what, and what git says now."""
    if claim.id > question.settings.instances.max:
        raise ConfigError(
            f"this checkout holds id {claim.id}, but orienter.instances.max is {question.settings.instances.max}",
            hint="raise it, or free the id with: inv cleanup.instance " + str(claim.id),
        )
    others = [other for other in book if other.token != claim.token]
    moved = dict(claim.moved) if claim.backend else moved_ports(question, claim.id, others)
    ports = port_plan(question.settings, claim.id, moved)
    if ports != claim.ports:
        _refuse_meeting(claim, ports, others)
    if moved != claim.moved and not quiet:
        tell_moved(question, moved)
    tree = worktree.read(question.root)
    return msgspec.structs.replace(claim, ports=ports, moved=moved, **_place(tree))


def settled(question: Question, claim: Claim, book: list[Claim], backend: str) -> Claim:
    """Return the claim with its backend, and the ports that follow from it."""
    others = [other for other in book if other.token != claim.token]
    moved = dict(claim.moved)
    if backend != claim.backend:
        moved = moved_ports(question, claim.id, others, backend)
    if moved != claim.moved:
        tell_moved(question, moved)
    ports = port_plan(question.settings, claim.id, moved)
    if ports != claim.ports:
        _refuse_meeting(claim, ports, others)
    return msgspec.structs.replace(claim, backend=backend, moved=moved, ports=ports, used_at=time.time())


def moved_ports(question: Question, instance_id: int, others: list[Claim], backend: str = "") -> dict[str, int]:
    """Return the ports that cannot follow the formula: nginx's, where it may not bind one below 1024."""
    base = question.settings.ports["nginx"]
    port = base + instance_id * PORT_STEP
    if port >= 1024 or not question.unbindable(port, backend):  # noqa: PLR2004 - the first unprivileged port
        return {}
    taken = {number for claim in others for number in claim.ports.values()}
    taken |= set(port_plan(question.settings, instance_id).values())
    beyond_all = range(base + (question.settings.instances.max + 1) * PORT_STEP, HIGHEST_PORT + 1, PORT_STEP)
    wanted = port + PRIVILEGED_NGINX_MOVE
    return {"nginx": next((number for number in (wanted, *beyond_all) if number not in taken), wanted)}


def tell_moved(question: Question, moved: Mapping[str, int]) -> None:
    """Note for people that nginx is elsewhere."""
    if moved:
        low = question.settings.ports["nginx"]
        question.notes.append(f"nginx may not bind port {low} without privileges: it is on {moved['nginx']}")


def _refuse_meeting(claim: Claim, ports: Mapping[str, int], others: list[Claim]) -> None:
    other = in_the_way(others, claim.project, claim.id, list(ports.values()))
    if other is not None:
        raise ConflictError(
            f"the ports of instance {claim.id} ({claim.root}) meet those of instance {other.id} of {other.project} "
            f"({other.root})",
            hint=f"change orienter.ports back, or free the other with: inv cleanup.instance {other.id}",
        )


def _claim_free(question: Question, book: list[Claim], tree: Worktree) -> Claim:
    highest = question.settings.instances.max
    preferred = preferred_id(tree, highest)
    holders: list[Claim] = []
    for candidate in _candidates(preferred, highest):
        claim = _fields(question, tree, candidate, book)
        other = _blocker(question, book, claim)
        if other is not None:
            holders.append(other)
            continue
        if holders:
            question.notes.append(
                f"{_why(claim.project, preferred, holders[0])}; this checkout is instance {candidate} from now on"
            )
        tell_moved(question, claim.moved)
        return claim
    lowest = 1 if preferred else 0
    raise all_taken(holders, question.settings.project, lowest, highest)


def _why(project: str, number: int, holder: Claim) -> str:
    if holder.project == project and holder.id == number:
        return f"id {number} is held by {holder.root}"
    return f"a port of id {number} is held by instance {holder.id} of {holder.project} ({holder.root})"


def _claim_asked(question: Question, book: list[Claim], tree: Worktree, asked: tuple[int, str]) -> Claim:
    claim = _fields(question, tree, asked[0], book)
    other = _blocker(question, book, claim)
    if other is None:
        tell_moved(question, claim.moved)
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
        other = in_the_way(book, claim.project, claim.id, list(claim.ports.values()))
        if other is None or not worktree.is_gone(Path(other.root), other.device) or question.leftovers(other):
            return other
        book.remove(other)


def _candidates(preferred: int, highest: int) -> Iterator[int]:
    yield preferred
    for step in range(1, highest + 1):
        candidate = (preferred - 1 + step) % highest + 1 if preferred else step
        if candidate != preferred:
            yield candidate


def _moved_here(question: Question, book: list[Claim], asked: tuple[int, str] | None) -> Claim | None:
    """Find the claim that this checkout took with it: its token lies in DATA_DIR and its old root is gone."""
    tokens = {_token(marker) for marker in question.root.glob(f".dev-data/instance-*/{MARKER}")}
    mine = [claim for claim in book if claim.token in tokens and claim.project == question.settings.project]
    gone = [
        claim
        for claim in mine
        if (asked is None or claim.id == asked[0]) and worktree.is_gone(Path(claim.root), claim.device)
    ]
    return max(gone, key=lambda claim: claim.used_at, default=None)


def _token(marker: Path) -> str:
    try:
        return marker.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _follow(question: Question, book: list[Claim], tree: Worktree, moved: Claim) -> Claim:
    """Take a claim to where its checkout was moved."""
    question.notes.append(f"this checkout was moved here from {moved.root}; it keeps instance {moved.id}")
    book.remove(moved)
    here = msgspec.structs.replace(
        moved,
        root=str(tree.root),
        worktree=worktree_name(tree) or tree.root.name,
        former_roots=tuple(root for root in (*moved.former_roots, moved.root) if root != str(tree.root)),
    )
    return refreshed(question, here, book)


def _fields(question: Question, tree: Worktree, instance_id: int, book: list[Claim]) -> Claim:
    moved = moved_ports(question, instance_id, book)
    now = time.time()
    try:
        return Claim(
            token=new_token(),
            project=question.settings.project,
            id=instance_id,
            root=str(question.root),
            worktree=worktree_name(tree) or question.root.name,
            ports=port_plan(question.settings, instance_id, moved),
            moved=moved,
            claimed_at=now,
            used_at=now,
            **_place(tree),
        )
    except ValueError as error:
        raise ConfigError(f"a checkout at {question.root} cannot be an instance", hint="move it") from error


def _place(tree: Worktree) -> _Place:
    """Say where git and the system see a checkout; it changes when its repository is moved or the machine restarted."""
    return {
        "main_root": str(tree.main_root),
        "git_dir": str(tree.git_dir or ""),
        "device": worktree.device_of(tree.root),
    }
