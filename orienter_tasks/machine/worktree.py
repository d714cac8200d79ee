"""What git says about a checkout, read from its files (gitrepository-layout(5)); no process is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from orienter_tasks.machine.files import read_small

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_VARIABLES = frozenset(
    f"GIT_{name}"
    for name in (
        *("ALTERNATE_OBJECT_DIRECTORIES", "CONFIG", "CONFIG_PARAMETERS", "CONFIG_COUNT", "OBJECT_DIRECTORY", "DIR"),
        *("WORK_TREE", "IMPLICIT_WORK_TREE", "GRAFT_FILE", "INDEX_FILE", "NO_REPLACE_OBJECTS", "REPLACE_REF_BASE"),
        *("PREFIX", "INTERNAL_SUPER_PREFIX", "SHALLOW_FILE", "COMMON_DIR"),
    )
)
"""What git sets for a hook, for its repository alone: `git rev-parse --local-env-vars`."""


class Worktree(Struct, frozen=True):
    """A checkout.

    `git_dir` is its own (`…/.git/worktrees/NAME` when linked; None without git), `main_root` the main checkout that it
    is linked to, else its own root.
    """

    root: Path
    linked: bool
    git_dir: Path | None
    main_root: Path


class Registration(Struct, frozen=True):
    """A checkout as its repository lists it, whether or not it is there.

    `git_dir` is its own; `branch` is "" when detached, `head` "" before the first commit; `locked` has the reason.
    """

    root: Path
    git_dir: Path
    branch: str
    head: str
    locked: str | None = None

    @property
    def is_there(self) -> bool:
        """Whether its directory is there and still this checkout."""
        return own_git_dir(read(self.root)) == self.git_dir


def outside_hook(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what git sets for a hook: there, it would be any program's repository."""
    return {name: value for name, value in environ.items() if name not in LOCAL_VARIABLES}


def has_control_characters(path: Path) -> bool:
    """Whether a path has characters that neither nginx nor PostgreSQL takes."""
    return any(ord(char) < ord(" ") or "\x7f" <= char <= "\x9f" for char in str(path))


def find_root(start: Path) -> Path:
    """Return the checkout that a directory lies in: the nearest parent with `.git`, else the directory itself."""
    start = start.resolve()
    return next((path for path in (start, *start.parents) if (path / ".git").exists()), start)


def read(root: Path) -> Worktree:
    root = root.resolve()
    dot_git = root / ".git"
    if dot_git.is_dir():
        return Worktree(root, linked=False, git_dir=dot_git, main_root=root)
    git_dir = _git_dir_of(dot_git)
    if git_dir is None or not _is_of_a_worktree(git_dir):
        return Worktree(root, linked=False, git_dir=git_dir, main_root=root)
    common = git_dir.parent.parent
    main_root = common.parent if common.name == ".git" else root
    return Worktree(root, linked=True, git_dir=git_dir, main_root=main_root)


def own_git_dir(tree: Worktree) -> Path | None:
    """Return the git directory that is this checkout's alone, if it is there; None for a `cp -r` of a linked worktree.

    Such a copy shares the directory of the original, to which that still points (git-worktree(1) under DETAILS).
    """
    if tree.git_dir is None or not tree.git_dir.is_dir():
        return None
    if tree.linked:
        linked_from = pointer(tree.git_dir / "gitdir")
        other = linked_from is not None and linked_from.resolve() != (tree.root / ".git").resolve()
        if other and linked_from is not None and _git_dir_of(linked_from) == tree.git_dir:
            return None
    return tree.git_dir


def is_cut_off(tree: Worktree) -> bool:
    """Whether a checkout's git directory should be somewhere and is not there."""
    return tree.git_dir is not None and not tree.git_dir.is_dir()


def common_dir(tree: Worktree) -> Path | None:
    """Return the git directory that a repository's checkouts share; None without git."""
    if tree.git_dir is None:
        return None
    return (pointer(tree.git_dir / "commondir") or tree.git_dir).resolve()


def registrations(tree: Worktree) -> list[Registration]:
    """List the checkouts of a repository: the main one, unless the repository is bare, then linked ones by path."""
    common = common_dir(tree)
    if common is None:
        return []
    main = [_registration(common.parent, common)] if common.name == ".git" else []
    if not tree.linked and not main:
        main = [_registration(tree.root, common)]
    found = []
    for git_dir in (common / "worktrees").glob("*"):
        linked_from = pointer(git_dir / "gitdir")
        if linked_from is not None:
            found.append(_registration(linked_from.parent, git_dir))
    return [*main, *sorted(found, key=lambda each: each.root)]


def _registration(root: Path, git_dir: Path) -> Registration:
    try:
        reason = read_small(git_dir / "locked").decode(errors="replace").strip()
    except OSError:
        reason = None
    return Registration(root, git_dir, *head(git_dir), reason)


def head(git_dir: Path) -> tuple[str, str]:
    """Return the branch ("" when detached) and the commit ("" without) that a git directory has checked out."""
    try:
        text = read_small(git_dir / "HEAD").decode(errors="surrogateescape").strip()
    except OSError:
        return "", ""
    if not text.startswith("ref: "):
        return "", text
    ref = text.removeprefix("ref: ")
    return ref.removeprefix("refs/heads/"), _commit_of(ref, pointer(git_dir / "commondir") or git_dir)


def branch(root: Path) -> str:
    """Return the checked-out branch, a short commit id when detached, or "" where git has neither."""
    git_dir = read(root).git_dir
    if git_dir is None:
        return ""
    try:
        head = read_small(git_dir / "HEAD").decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: ") else head[:9]


def commit(root: Path) -> str:
    """Return the id of the checked-out commit; "" where git has none, or keeps it where only git itself finds it."""
    git_dir = read(root).git_dir
    return head(git_dir)[1] if git_dir is not None else ""


def _commit_of(ref: str, common: Path) -> str:
    try:
        if (common / ref).exists():
            return read_small(common / ref).decode().strip()
        packed = (line.split(" ") for line in read_small(common / "packed-refs").decode().splitlines())
        return next((words[0] for words in packed if words[1:] == [ref]), "")
    except (OSError, UnicodeDecodeError):
        return ""


def device_of(path: Path) -> int:
    """Return the device number of a path, or of its nearest existing parent."""
    for candidate in (path, *path.parents):
        try:
            return candidate.stat().st_dev
        except OSError:
            continue
    return 0


def pointer(file: Path, prefix: bytes = b"") -> Path | None:
    """Return the path that one of git's files holds behind a prefix; None if there is none.

    It may be relative to the file's directory. Links in it are not followed, so it need not exist.
    """
    try:
        text = read_small(file)
    except OSError:
        return None
    path = text.removeprefix(prefix).lstrip().rstrip(b"\n")
    return Path(os.path.normpath(file.parent / os.fsdecode(path))) if path and text.startswith(prefix) else None


def _git_dir_of(dot_git: Path) -> Path | None:
    found = pointer(dot_git, b"gitdir:")
    try:
        return found.resolve() if found is not None else None
    except (OSError, ValueError, RuntimeError):  # not a path, or a loop of links
        return None


def _is_of_a_worktree(git_dir: Path) -> bool:
    """Tell it from a submodule's (which may be called `worktrees/x`) or a separate one: it has a `commondir`."""
    if git_dir.parent.name != "worktrees":
        return False
    return (git_dir / "commondir").is_file() or not git_dir.exists()  # not readable: go by its name
