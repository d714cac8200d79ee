"""What became of a claim's checkout: only git can confirm that it is gone; anything unclear counts as still there.

Read from git's own files (gitrepository-layout(5), git-worktree(1) under DETAILS); nothing is started or written.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orienter_tasks.identity.ownership import has_token, holds, token_in
from orienter_tasks.machine import worktree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orienter_tasks.identity.claims import Claim

OWN_DIRECTORIES = (".dev-data", ".dev-pids", "logs")
_OWN = r"instance-\d+|\.gitignore"


class CheckoutState(Enum):
    """What became of a checkout."""

    HERE = "here"
    GONE = "gone"
    MOVED = "moved"
    UNMOUNTED = "unmounted"
    LOCKED = "locked"
    UNCERTAIN = "uncertain"


class Checkout(Struct, frozen=True):
    """What became of a checkout, how that is known, and where its files are now, if known."""

    state: CheckoutState
    reason: str
    place: Path | None = None


class HiddenError(Exception):
    """Something cannot be seen, which does not mean that it is not there."""


def judge(claim: Claim, hints: Iterable[Path] = ()) -> Checkout:
    """Find out what became of a checkout; `hints` are directories where it might be if it was moved."""
    root = Path(claim.root)
    try:
        if _there(root) and not _is_left_over(root, claim) and holds(worktree.read(root), claim):
            return Checkout(CheckoutState.HERE, "its checkout exists", root)
        if worktree.device_of(root) != claim.device:
            return Checkout(CheckoutState.UNMOUNTED, "its checkout's disk does not seem to be mounted")
        moved = _find_marker(claim, hints)
        if moved is not None:
            return Checkout(CheckoutState.MOVED, f"its checkout was moved to {moved}", moved)
        return _ask_git(claim, root)
    except HiddenError as error:
        return Checkout(CheckoutState.UNCERTAIN, str(error))


def remedy(claim: Claim, checkout: Checkout) -> str:
    """Return what to do about a checkout that is not where its claim says; "" when it is."""
    by_name = f"inv cleanup.instance {claim.id}"
    return {
        CheckoutState.HERE: "",
        CheckoutState.GONE: "inv cleanup.weekly",
        CheckoutState.MOVED: f"cd {shlex.quote(str(checkout.place or claim.root))} && inv env.show",
        CheckoutState.UNMOUNTED: f"mount its disk again, or: {by_name}",
        CheckoutState.LOCKED: f"git worktree unlock {shlex.quote(claim.root)}, or: {by_name}",
        CheckoutState.UNCERTAIN: by_name,
    }[checkout.state]


def owner_blocker(root: Path) -> str:
    """Return why things of a checkout that no claim names are not this user's to remove; "" when they are."""
    for path in (root, *root.parents):
        try:
            owner = os.lstat(path).st_uid
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            return f"its checkout cannot be seen: {getattr(error, 'strerror', error)}"
        return "it is another user's" if owner not in (os.geteuid(), 0) else ""
    return ""


def is_missing(claim: Claim) -> bool:
    """Whether nothing or another checkout lies where one was; another device there may mean that its disk is away."""
    root = Path(claim.root)
    if worktree.device_of(root) != claim.device:
        return False
    return not exists(root) or not holds(worktree.read(root), claim)


def is_gone(claim: Claim) -> bool:
    """Whether a checkout is gone as far as can be seen: not at its place, nor known to be moved, locked or away."""
    return is_missing(claim) and judge(claim).state in (CheckoutState.GONE, CheckoutState.UNCERTAIN)


def exists(root: Path) -> bool:
    """Whether something lies at a path, or might."""
    try:
        return _there(root)
    except HiddenError:
        return True


def _ask_git(claim: Claim, root: Path) -> Checkout:
    git_dir = Path(claim.git_dir)
    linked = git_dir.is_absolute() and git_dir.parent.name == "worktrees" and git_dir.name != ".git"
    if not linked or root in git_dir.parents:
        return Checkout(
            CheckoutState.UNCERTAIN, "its checkout is not there, but git confirms that of linked worktrees only"
        )
    repository = git_dir.parent.parent
    if not (_there(repository / "HEAD") and _there(repository / "objects")):
        return Checkout(CheckoutState.UNCERTAIN, f"the repository of its checkout cannot be seen: {repository}")
    if not _there(git_dir) or not has_token(git_dir, claim):
        return Checkout(CheckoutState.GONE, "its checkout is gone, and git has no such worktree any more")
    if _there(git_dir / "locked"):
        return Checkout(CheckoutState.LOCKED, "its checkout is not there, but git worktree lock keeps it")
    remembered = worktree.pointer(git_dir / "gitdir")
    if remembered is None or remembered.name != ".git":
        return Checkout(CheckoutState.UNCERTAIN, f"{git_dir}/gitdir does not name a worktree")
    return _ask_pointer(claim, remembered)


def _ask_pointer(claim: Claim, pointer: Path) -> Checkout:
    """Judge by where git last saw the worktree's `.git` file."""
    there = _there(pointer)
    if pointer.parent in map(Path, claim.roots):
        if there:
            return Checkout(CheckoutState.UNCERTAIN, "git still sees its checkout")
        return Checkout(CheckoutState.GONE, "its checkout is gone, and git calls that worktree prunable")
    where = f"git says that its checkout was moved to {pointer.parent}"
    if there:
        return Checkout(CheckoutState.MOVED, where, pointer.parent)
    return Checkout(CheckoutState.UNCERTAIN, f"{where}, which is not there")


def _there(path: Path) -> bool:
    """Whether something lies at a path.

    Raises:
        HiddenError: that cannot be determined.
    """
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            os.stat(path)  # noqa: PTH116 - beside lstat
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.lexists(path):
            raise HiddenError(f"{path} is a symbolic link that leads nowhere") from error
        return False
    except (OSError, ValueError) as error:
        raise HiddenError(f"{path} cannot be seen: {getattr(error, 'strerror', error)}") from error
    return True


def _is_left_over(root: Path, claim: Claim) -> bool:
    """Whether only files are left of a checkout: our own directories, or without the `.git` of a linked worktree.

    That happens when a service outlives its checkout, and goes on writing there.
    """
    if Path(claim.git_dir).parent.name == "worktrees" and not _there(root / ".git"):
        return True
    try:
        with os.scandir(root) as entries:
            for entry in entries:
                ours = entry.name in OWN_DIRECTORIES and entry.is_dir(follow_symlinks=False)
                if not ours or not all(re.fullmatch(_OWN, path.name) for path in Path(entry.path).iterdir()):
                    return False
    except OSError:
        return False
    return True


def _find_marker(claim: Claim, hints: Iterable[Path]) -> Path | None:
    """Find the checkout that has the claim's marker: at the hints, else near the old place."""
    here = {Path(root) for root in claim.roots}
    seen: set[Path] = set()
    for place in (*hints, *_neighbours(claim)):
        if place in seen or place in here:
            continue
        seen.add(place)
        if token_in(place / ".dev-data" / f"instance-{claim.id}") == claim.token:
            return place
    return None


def _neighbours(claim: Claim) -> Iterator[Path]:
    """Yield the directories near a checkout's old place and near its main checkout, a few thousand around each."""
    root, main = Path(claim.root), Path(claim.main_root)
    for base in dict.fromkeys((root.parent, root.parent.parent, main, main.parent, main.parent.parent)):
        if base != base.parent:  # not the whole machine
            yield from islice(_two_deep(base), 4000)


def _two_deep(base: Path) -> Iterator[Path]:
    for child in _directories(base):
        yield child
        yield from _directories(child)


def _directories(base: Path) -> list[Path]:
    try:
        with os.scandir(base) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []
