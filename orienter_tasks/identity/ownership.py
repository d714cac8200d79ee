"""Which claims are a checkout's own: those whose tokens are in its git directory.

There a token survives `git clean -fdx`, `git worktree move` and a change of the branch, and goes with `git worktree
remove`: a new worktree at an old path is a new checkout. `cp -r` copies it; a copy is recognized by the original, which
still has it. Where a checkout has no git directory of its own, or it cannot be written, the token in DATA_DIR counts.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.errors import OrienterError
from orienter_tasks.machine import worktree
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.state import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.machine.worktree import Worktree

MARKER = "claim"
"""The file in DATA_DIR with the claim's token."""
DIRECTORY = "orienter"
MOST_TOKENS = 20
# of these files of a git directory, the oldest is as old as that (gitrepository-layout(5))
MADE_WITH_IT = ("commondir", "description", "info/exclude", "config")


class Tokens(msgspec.Struct, frozen=True):
    """What a git directory says of its checkout.

    Attributes:
        tokens: of the checkout's claims.
        root: where the checkout was when this was written; likewise `inode`, of the git directory.
    """

    tokens: tuple[str, ...]
    root: str
    inode: int


def held_by(tree: Worktree, claims: Iterable[Claim], project: str) -> Claim | None:
    """Return the claim of a checkout; of several, the one used last."""
    held = [claim for claim in claims if claim.project == project and owns(tree, claim)]
    return max(held, key=lambda claim: claim.used_at, default=None)


def owns(tree: Worktree, claim: Claim) -> bool:
    """Whether a claim is this checkout's own, also from where it was before it was moved."""
    if not holds(tree, claim):
        return False
    if claim.root == str(tree.root):
        return True
    git_dir = worktree.own_git_dir(tree)
    written = _read(git_dir, claim.project) if git_dir is not None else None
    if written is not None and git_dir is not None and written.inode == _inode(git_dir):
        return True
    original = Path(claim.root)
    if not os.path.lexists(original):
        return worktree.device_of(original) == claim.device  # else it may be there, on a disk that is not mounted
    return not holds(worktree.read(original), claim)


def holds(tree: Worktree, claim: Claim) -> bool:
    """Whether a checkout has a claim's token; a copy has it too."""
    git_dir = worktree.own_git_dir(tree)
    if git_dir is not None and (written := _read(git_dir, claim.project)) is not None:
        return claim.token in written.tokens
    marked = marked_ids(tree.root)
    if claim.token in marked:
        return True
    return claim.root == str(tree.root) and (not marked if git_dir is None else is_older(git_dir, claim))


def has_token(git_dir: Path, claim: Claim) -> bool:
    """Whether a git directory is the one of the claim's checkout, not a new one of the same name."""
    written = _read(git_dir, claim.project)
    return claim.token in written.tokens if written is not None else is_older(git_dir, claim)


def is_older(git_dir: Path, claim: Claim) -> bool:
    """Whether a git directory was there when an id was claimed, which it does not know of."""
    made = []
    for name in MADE_WITH_IT:
        with suppress(OSError):
            made.append((git_dir / name).stat().st_mtime)
    return not claim.claimed_at or not made or min(made) <= claim.claimed_at


def record(tree: Worktree, claim: Claim) -> None:
    """Write a claim's token into the checkout's git directory; where that cannot be done, DATA_DIR has it."""
    git_dir = worktree.own_git_dir(tree)
    if git_dir is None:
        return
    written = _read(git_dir, claim.project)
    kept = written.tokens if written is not None and not _is_copied(written, tree, git_dir, claim.project) else ()
    tokens = kept if claim.token in kept else (*kept, claim.token)[-MOST_TOKENS:]
    wanted = Tokens(tokens, str(tree.root), _inode(git_dir))
    if wanted == written:
        return
    with suppress(OSError, OrienterError):
        write_private(_path(git_dir, claim.project), msgspec.json.encode(wanted))


def tokens_path(tree: Worktree, project: str) -> Path | None:
    """Return the file in a checkout's git directory that says which claims are its own; None without a directory."""
    git_dir = worktree.own_git_dir(tree)
    return None if git_dir is None else _path(git_dir, project)


def other_project(tree: Worktree, claims: Iterable[Claim], claim: Claim) -> str:
    """Name the project whose instance uses the directories of a claim's id in the same repository; "" if none does."""
    marked = token_in(tree.root / ".dev-data" / f"instance-{claim.id}")
    if marked == claim.token:
        return ""
    for other in claims:
        started_here = other.placed and (other.root, other.id) == (claim.root, claim.id)
        if other.project != claim.project and (other.token == marked or started_here):
            return other.project
    git_dir = worktree.own_git_dir(tree)
    if git_dir is None or not marked:
        return ""
    for project in (path.stem for path in (git_dir / DIRECTORY).glob("*.json")):  # its claim may have been lost
        written = _read(git_dir, project) if project != claim.project else None
        if written is not None and marked in written.tokens:
            return project
    return ""


def lost_tokens(tree: Worktree, claims: Iterable[Claim], project: str) -> list[str]:
    """Return the tokens in a checkout's own git directory that no claim has: the file of claims was lost."""
    git_dir = worktree.own_git_dir(tree)
    written = _read(git_dir, project) if git_dir is not None else None
    if written is None or git_dir is None or _is_copied(written, tree, git_dir, project):
        return []
    known = {claim.token for claim in claims}
    return [token for token in written.tokens if token not in known]


def marked_ids(root: Path) -> dict[str, int]:
    """Return the tokens in a checkout's DATA_DIR, each with the id of the instance that was started with it."""
    found = {}
    for directory in root.glob(".dev-data/instance-*"):
        token, number = token_in(directory), directory.name.removeprefix("instance-")
        if token and number.isdecimal():
            found[token] = int(number)
    return found


def token_in(data_dir: Path) -> str:
    """Return the token of the claim that an instance's own directory was made for; "" without."""
    try:
        return read_small(data_dir / MARKER)[:100].decode(errors="replace").strip()
    except (OSError, ValueError):
        return ""


def _is_copied(written: Tokens, tree: Worktree, git_dir: Path, project: str) -> bool:
    if written.root == str(tree.root) or written.inode == _inode(git_dir):
        return False
    original = worktree.own_git_dir(worktree.read(Path(written.root)))
    there = _read(original, project) if original is not None else None
    return there is not None and bool({*there.tokens} & {*written.tokens})


def _path(git_dir: Path, project: str) -> Path:
    return git_dir / DIRECTORY / f"{project}.json"


def _read(git_dir: Path, project: str) -> Tokens | None:
    try:
        return msgspec.json.decode(read_small(_path(git_dir, project)), type=Tokens)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0
