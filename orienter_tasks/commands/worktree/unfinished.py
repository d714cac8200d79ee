"""Taking a worktree away, with a note of it: a run that is killed is completed, or undone, by the next one.

The note lies in the repository's git directory from before a worktree is made until it is complete, and from when all
checks of its removal have passed until it is gone.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orienter_tasks.commands.worktree.unsaved import changes
from orienter_tasks.errors import CheckError, ConflictError, OrienterError
from orienter_tasks.identity.ownership import DIRECTORY, has_token, held_by
from orienter_tasks.lifecycle.stop import remove_other
from orienter_tasks.machine import directories, flock, worktree
from orienter_tasks.machine.files import read_small
from orienter_tasks.machine.git import ask, git
from orienter_tasks.machine.signals import deferred
from orienter_tasks.machine.state import sweep_all, write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from orienter_tasks.backends.protocol import Backend, InstanceConfig
    from orienter_tasks.identity.claims import Claim
    from orienter_tasks.lifecycle.context import RunContext
    from orienter_tasks.machine.worktree import Registration

GIT_SECONDS = 10.0
BEGUN = "initializing"
"""Why git locks a worktree while it makes it."""


class UnfinishedWorktree(msgspec.Struct, frozen=True):
    """A worktree that is being made or removed.

    Attributes:
        path: where.
        commit: what it began with, or had at last.
        branch: what else goes; "" for none.
        inode: of the directory to remove; 0 for a worktree that is being made.
        since: when git began to remove it, in seconds since the epoch; 0 before.
    """

    path: str
    commit: str
    branch: str
    inode: int = 0
    since: float = 0.0


def common_dir(ctx: RunContext) -> Path:
    """Return the git directory of the repository, from which git is run."""
    common = worktree.common_dir(worktree.read(ctx.root))
    if common is None or not common.is_dir():
        raise CheckError(f"{ctx.root} is not a checkout of a git repository", hint="see: git worktree repair")
    return common


def working_on(ctx: RunContext, path: Path) -> AbstractContextManager[None]:
    """Keep other runs that make or remove a worktree away from a path."""
    return _holding(ctx, _lock(common_dir(ctx), str(path)), f"makes or removes {path}")


def changing(ctx: RunContext) -> AbstractContextManager[None]:
    """Let one git at a time change the repository: two would be in each other's way."""
    common = common_dir(ctx)
    return _holding(ctx, common / DIRECTORY / "locks" / "repository", f"changes {common}")


@contextmanager
def _holding(ctx: RunContext, lock: Path, what: str) -> Iterator[None]:
    """Hold a lock in git's directory, which containers and users with another state directory share."""
    try:
        with flock.hold(lock, within=ctx.settings.timeouts.lock) as descriptor:
            flock.name_holder(descriptor, os.getpid())
            yield
    except flock.HeldError as error:
        raise ConflictError(f"{error} {what}", hint="wait until it ends, then run this again") from None


def begin(common: Path, left: UnfinishedWorktree) -> None:
    """Note that a worktree is being made, or removed."""
    write_private(_note(common, left.path), msgspec.json.encode(left))


def finish(common: Path, path: Path) -> None:
    """Take the note back."""
    _note(common, str(path)).unlink(missing_ok=True)


def notes(common: Path) -> dict[Path, bool]:
    """Return the paths of worktrees that are being made or removed, each with whether a run is at it."""
    return {Path(left.path): _is_at_work(common, left) for left in _all(common)}


def settle(ctx: RunContext) -> list[Path]:
    """Undo or complete what killed runs have left; return the paths that are gone."""
    gone = []
    sweep_all(_notes(common_dir(ctx)))
    for left in _all(common_dir(ctx)):
        if _is_at_work(common_dir(ctx), left):
            continue
        try:
            with working_on(ctx, Path(left.path)):
                _await_git(left.path)
                if take_back(ctx, left):
                    gone.append(Path(left.path))
        except OrienterError as error:
            ctx.report.warn(f"{left.path} is still unfinished: {error.line()}")
    return gone


def take_back(ctx: RunContext, left: UnfinishedWorktree) -> bool:
    """Remove what a run has made, or the rest of what it was to remove; False if there is work of the user's in it."""
    common, path = common_dir(ctx), Path(left.path)
    found = registered(common, path)
    if found is not None and not left.inode and found.is_there and found.locked != BEGUN:
        work = changes(path)
        if found.head != left.commit:
            work.append(f"it is at {found.head[:9] or 'no commit'}, and began at {left.commit[:9]}")
        if work:
            finish(common, path)
            ctx.report.warn(f"{path} stays, although it is not complete: {'; '.join(work)}")
            return False
    take_away(ctx, left)
    return True


def take_away(
    ctx: RunContext,
    left: UnfinishedWorktree,
    keep: Callable[[Claim, InstanceConfig, Backend | None], None] | None = None,
) -> None:
    """Remove a worktree: its instance, its directory, git's registration, and the branch that goes with it.

    Before its data goes, it is stopped, and `keep` is called.
    """
    common, path = common_dir(ctx), Path(left.path)
    for claim in instances(ctx, common, path):

        def before(config: InstanceConfig, backend: Backend | None, claim: Claim = claim) -> None:
            if keep is not None:
                keep(claim, config, backend)
            begin(common, left)

        remove_other(claim, ctx.settings, ctx.claims, ctx.grace, before)
    with changing(ctx), deferred():
        begin(common, msgspec.structs.replace(left, since=left.since or time.time()))
        found = registered(common, path)
        if found is not None:
            _remove(common, found, left)
        if left.branch and ask(common, "rev-parse", "--verify", "--quiet", f"refs/heads/{left.branch}") == left.commit:
            git(common, "branch", "--quiet", "-D", left.branch, own_group=True)
        finish(common, path)


def instances(ctx: RunContext, common: Path, path: Path) -> list[Claim]:
    """Return the claims of this project that a worktree has, also of one whose directory is gone."""
    claims = [claim for claim in ctx.claims.read() if claim.project == ctx.settings.project]
    found = registered(common, path)
    if found is None:
        return []
    if not found.is_there:
        return [claim for claim in claims if claim.root == str(path) and has_token(found.git_dir, claim)]
    held = held_by(worktree.read(path), claims, ctx.settings.project)
    if held is None:
        return []
    former = held.former_roots if held.root == str(path) else (*held.former_roots, held.root)
    return [msgspec.structs.replace(held, root=str(path), former_roots=former)]


def registered(common: Path, path: Path) -> Registration | None:
    """Return what git has registered at a path."""
    return next((each for each in registrations(common) if each.root == path), None)


def registrations(common: Path) -> list[Registration]:
    """List the checkouts of a repository, the main one first."""
    root = common.parent if common.name == ".git" else common
    return worktree.registrations(worktree.Worktree(root, linked=False, git_dir=common, main_root=root))


def _remove(common: Path, found: Registration, left: UnfinishedWorktree) -> None:
    if found.is_there or not os.path.lexists(found.root):
        git(common, "worktree", "remove", "--force", "--force", str(found.root), own_group=True)
        return
    if _is_rest(found.root, left) or not any(found.root.iterdir()):
        directories.remove(found.root)
    directories.remove(found.git_dir)


def _is_rest(root: Path, left: UnfinishedWorktree) -> bool:
    """Whether a directory is what a killed git has left of a worktree: file systems use inodes again for new ones."""
    if left.inode != root.lstat().st_ino or os.path.lexists(root / ".git"):
        return False
    found = (path.lstat() for path in root.rglob("*"))
    return all(stat.S_ISDIR(each.st_mode) or each.st_ctime < left.since for each in found)


def _await_git(path: str) -> None:
    """Wait for a git that has outlived its run, and still makes or removes a worktree."""
    import psutil

    deadline = time.monotonic() + GIT_SECONDS
    while True:
        found = [each.pid for each in psutil.process_iter(["cmdline"]) if _is_git_at(each.info["cmdline"] or (), path)]
        if not found:
            return
        if time.monotonic() > deadline:
            hint = "wait until it ends, then run this again"
            raise ConflictError(f"git (pid {found[0]}) is still at work on {path}", hint=hint)
        time.sleep(0.1)


def _is_git_at(words: Sequence[str], path: str) -> bool:
    return [*words[:1]] == ["git"] and "worktree" in words and path in words


def _all(common: Path) -> list[UnfinishedWorktree]:
    found = []
    for path in sorted(_notes(common).glob("*.json")):
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            found.append(msgspec.json.decode(read_small(path), type=UnfinishedWorktree))
    return found


def _note(common: Path, path: str) -> Path:
    return _notes(common) / f"{_digest(path)}.json"


def _notes(common: Path) -> Path:
    return common / DIRECTORY / "unfinished"


def _is_at_work(common: Path, left: UnfinishedWorktree) -> bool:
    return bool(flock.holder(_lock(common, left.path)))


def _lock(common: Path, path: str) -> Path:
    return common / DIRECTORY / "locks" / _digest(path)


def _digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
