"""How a checkout gets an id: its preferred one, the next free one, or the one it had before it was moved."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, TypedDict

import msgspec
from msgspec import Struct

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.identity import volumes
from orienter_tasks.identity.checkouts import is_gone, judge
from orienter_tasks.identity.claims import Claim, all_taken, in_the_way, new_token
from orienter_tasks.identity.ownership import lost_tokens, marked_ids
from orienter_tasks.instance.model import PRIVILEGED_NGINX_MOVE, port_plan
from orienter_tasks.machine import worktree
from orienter_tasks.settings.catalog import NGINX
from orienter_tasks.settings.model import HIGHEST_PORT, PORT_STEP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from orienter_tasks.instance.backends import Backends
    from orienter_tasks.machine.worktree import Worktree
    from orienter_tasks.settings.model import Settings

HASH_SLOTS = 9
FIRST_UNPRIVILEGED_PORT = 1024
SHOWN_PORTS = 3

_POLYNOMIAL, _MASK = 0x04C11DB7, 0xFFFFFFFF


class IdRequest(Struct, frozen=True):
    """A checkout that needs to know which instance it is.

    Attributes:
        unbindable: whether nginx may not bind a port below 1024 on a backend ("": the likely one).
        leftovers: whether anything of a claim is left that is bound to its id; True where that is unknown.
        note: shows a line to the user.
    """

    root: Path
    settings: Settings
    environ: Mapping[str, str]
    dotenv: Mapping[str, str]
    unbindable: Callable[[int, str], bool]
    leftovers: Callable[[Claim], bool]
    note: Callable[[str], None]


class _Place(TypedDict):
    main_root: str
    git_dir: str
    device: int


def cksum(data: bytes) -> int:
    """Compute what the POSIX `cksum` program prints (not zlib's crc32): preferred ids are the same everywhere."""
    crc, length = 0, len(data)
    for byte in data + length.to_bytes((length.bit_length() + 7) // 8, "little"):
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (_POLYNOMIAL if crc & 0x80000000 else 0)
        crc &= _MASK
    return ~crc & _MASK


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
    """Return 0 for a main checkout, else the POSIX cksum of the worktree's name modulo 9 plus 1."""
    name = worktree_name(tree)
    if name is None or highest == 0:
        return 0
    return cksum(os.fsencode(name)) % min(HASH_SLOTS, highest) + 1


def claim_new(request: IdRequest, book: list[Claim], asked: tuple[int, str] | None) -> Claim:
    """Make the claim of a checkout that has none: on the id it asks for, or a free one.

    `book` has all claims, under the lock; those of which nothing is left are removed, the new one is not added.
    `asked` is the id that it must be, and where that is written.
    """
    tree = worktree.read(request.root)
    if worktree.is_cut_off(tree):
        raise ConflictError(
            f"the git directory of {tree.root} is not there ({tree.git_dir}), so it is unknown which instance this is",
            hint="run git worktree repair in its main checkout; in a container, mount the main checkout's .git too",
        )
    claim = _claim_asked(request, book, tree, asked) if asked else _claim_free(request, book, tree)
    tell_moved(request, {}, claim.moved)
    return claim


def revalidated(request: IdRequest, claim: Claim, book: list[Claim]) -> Claim:
    """Return the claim as settings (ports), privileges, the checkout's place and git's files say now."""
    if claim.id > request.settings.instances.max:
        raise ConfigError(
            f"this checkout holds id {claim.id}, but orienter.instances.max is {request.settings.instances.max}",
            hint=f"raise it, or free the id with: inv cleanup.instance {claim.id}",
        )
    moved = claim.moved if claim.placed else moved_ports(request, claim.id, _others(book, claim))
    tree = worktree.read(request.root)
    if claim.root != str(tree.root):
        claim = _at(tree, claim)
    return msgspec.structs.replace(_with_ports(request, claim, book, moved), **_place(tree))


def with_backends(request: IdRequest, claim: Claim, book: list[Claim], backends: Backends) -> Claim:
    moved, backend = claim.moved, backends.of(NGINX.name)
    if backend != claim.backends.of(NGINX.name):
        moved = moved_ports(request, claim.id, _others(book, claim), backend)
    settled = _with_ports(request, claim, book, moved)
    return msgspec.structs.replace(settled, placed=backends.text, used_at=time.time())


def moved_ports(request: IdRequest, instance_id: int, others: list[Claim], backend: str = "") -> dict[str, int]:
    """Return the ports that cannot follow the formula: nginx's, where it may not bind a port below 1024."""
    base = request.settings.ports["nginx"]
    port = base + instance_id * PORT_STEP
    if port >= FIRST_UNPRIVILEGED_PORT or not request.unbindable(port, backend):
        return {}
    taken = {number for claim in others for number in claim.ports.values()}
    taken |= set(port_plan(request.settings, instance_id).values())
    beyond_all = range(base + (request.settings.instances.max + 1) * PORT_STEP, HIGHEST_PORT + 1, PORT_STEP)
    wanted = port + PRIVILEGED_NGINX_MOVE
    return {"nginx": next((number for number in (wanted, *beyond_all) if number not in taken), wanted)}


def tell_moved(request: IdRequest, before: Mapping[str, int], moved: Mapping[str, int]) -> None:
    if moved and moved != before:
        low = request.settings.ports["nginx"]
        request.note(f"nginx may not bind port {low} without privileges: it is on {moved['nginx']}")


def _others(book: list[Claim], claim: Claim) -> list[Claim]:
    return [other for other in book if other.token != claim.token]


def _with_ports(request: IdRequest, claim: Claim, book: list[Claim], moved: dict[str, int]) -> Claim:
    ports = port_plan(request.settings, claim.id, moved)
    if ports != claim.ports:
        other = in_the_way(_others(book, claim), claim.project, claim.id, list(ports.values()))
        if other is not None:
            raise ConflictError(
                f"the ports of instance {claim.id} ({claim.root}) overlap those of instance {other.id} of "
                f"{other.project} ({other.root})",
                hint=f"change orienter.ports back, or free the other with: inv cleanup.instance {other.id}",
            )
    return msgspec.structs.replace(claim, ports=ports, moved=moved)


def _claim_free(request: IdRequest, book: list[Claim], tree: Worktree) -> Claim:
    highest = request.settings.instances.max
    preferred = _former_id(tree, book, request.settings)
    holders: list[Claim] = []
    first: Claim | None = None
    for candidate in _candidates(preferred, highest):
        claim = _fields(request, tree, candidate, book)
        other = _blocker(request, book, claim)
        if other is not None and is_gone(other) and candidate == 0:
            why, _ = _why(claim, other)
            raise ConflictError(why, hint=_ways(0))
        if other is not None:
            holders.append(other)
            first = first or claim
            continue
        if holders:
            why, way = _why(first or claim, holders[0])
            request.note(f"{why}; this checkout is instance {candidate} from now on{way}")
        return claim
    raise all_taken(holders, request.settings.project, 1 if preferred else 0, highest)


def _why(wanted: Claim, holder: Claim) -> tuple[str, str]:
    """Return why a claim's id was not to be had, and what can be done about it."""
    number = wanted.id
    if (holder.project, holder.id) != (wanted.project, number):
        held = holder.ports.values()
        common = [f"{port} ({name})" for name, port in wanted.ports.items() if port in held]
        more = f" and {len(common) - SHOWN_PORTS} more" if len(common) > SHOWN_PORTS else ""
        ports, are = ("port", "is") if len(common) == 1 else ("ports", "are")
        listed = f"{ports} {', '.join(common[:SHOWN_PORTS])}{more} of id {number} {are}"
        return f"{listed} held by instance {holder.id} of {holder.project} ({holder.root})", ""
    if is_gone(holder):
        way = f"; {_ways(number)}"
        return f"id {number} has the data of a checkout that is gone ({holder.root})", way
    return f"id {number} is held by {judge(holder).place or holder.root}", ""


def _ways(number: int) -> str:
    return f"inv data.adopt {number} takes that data over, inv cleanup.instance {number} removes it"


def _claim_asked(request: IdRequest, book: list[Claim], tree: Worktree, asked: tuple[int, str]) -> Claim:
    claim = _fields(request, tree, asked[0], book)
    other = _blocker(request, book, claim)
    if other is None:
        return claim
    gone = is_gone(other)
    free = _ways(other.id) if gone else f"free it with: inv cleanup.instance {other.id}"
    raise ConflictError(
        f"id {asked[0]} ({asked[1]}: AI_INSTANCE_ID) cannot go to {request.root}: instance {other.id} of "
        f"{other.project} holds it or its ports for {other.root}, "
        f"{'which is gone but has left data' if gone else 'which exists'}",
        hint=f"choose another id, or {free}",
    )


def _blocker(request: IdRequest, book: list[Claim], claim: Claim) -> Claim | None:
    """Return the claim that blocks another, after removing those of which nothing is left."""
    while True:
        other = in_the_way(book, claim.project, claim.id, list(claim.ports.values()))
        if other is None or not is_gone(other) or request.leftovers(other):
            return other
        if any(volumes.of(other)):
            request.note(
                f"a checkout that is gone ({other.root}) has left data as instance {other.id}: "
                f"inv data.adopt {other.id} takes it over, inv cleanup.weekly removes it"
            )
        book.remove(other)


def _former_id(tree: Worktree, book: list[Claim], settings: Settings) -> int:
    """Return the id that a checkout had before the file of claims was lost, else its preferred one."""
    marked = _lost_ids(tree, book, settings.project)
    former = [number for number in marked.values() if number is not None and number <= settings.instances.max]
    return former[-1] if former else preferred_id(tree, settings.instances.max)


def _token(tree: Worktree, book: list[Claim], project: str, number: int) -> str:
    """Return a new claim's token; if the file of claims was lost, the token that the checkout's data is marked with."""
    lost = _lost_ids(tree, book, project)
    fitting = [token for token, former in lost.items() if former in (None, number)]
    return fitting[-1] if fitting else new_token()


def _lost_ids(tree: Worktree, book: list[Claim], project: str) -> dict[str, int | None]:
    """Return a checkout's tokens that no claim has, with the ids that its volumes or its DATA_DIR tell."""
    marked = marked_ids(tree.root)
    found = {token: volumes.marked(project, token) for token in lost_tokens(tree, book, project)}
    return {token: claim.id if claim is not None else marked.get(token) for token, claim in found.items()}


def _candidates(preferred: int, highest: int) -> Iterator[int]:
    yield preferred
    for step in range(1, highest + 1):
        candidate = (preferred - 1 + step) % highest + 1 if preferred else step
        if candidate != preferred:
            yield candidate


def _at(tree: Worktree, moved: Claim) -> Claim:
    """Return the claim of a moved checkout, at its new place."""
    return msgspec.structs.replace(
        moved,
        root=str(tree.root),
        worktree=worktree_name(tree) or tree.root.name,
        former_roots=tuple(root for root in (*moved.former_roots, moved.root) if root != str(tree.root)),
    )


def _fields(request: IdRequest, tree: Worktree, instance_id: int, book: list[Claim]) -> Claim:
    moved = moved_ports(request, instance_id, book)
    now = time.time()
    try:
        return Claim(
            token=_token(tree, book, request.settings.project, instance_id),
            project=request.settings.project,
            id=instance_id,
            root=str(request.root),
            worktree=worktree_name(tree) or request.root.name,
            ports=port_plan(request.settings, instance_id, moved),
            moved=moved,
            claimed_at=now,
            used_at=now,
            **_place(tree),
        )
    except ValueError as error:
        raise ConfigError(f"a checkout at {request.root} cannot be an instance", hint="move it") from error


def _place(tree: Worktree) -> _Place:
    """Return where git and the system see a checkout: a restart, or a moved repository, changes that."""
    return {
        "main_root": str(tree.main_root),
        "git_dir": str(tree.git_dir or ""),
        "device": worktree.device_of(tree.root),
    }
