"""What would be lost with a worktree: work that is nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orienter_tasks.errors import CheckError
from orienter_tasks.machine.git import ask, git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.machine.worktree import Registration

IN_PROGRESS = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisection",
}
NAMED = 3


def losses(root: Path, target: Registration, others: Sequence[Registration], *, known: str = "") -> Iterator[str]:
    """Say what would be lost with a worktree.

    Args:
        root: where git is asked.
        target: the worktree.
        others: all checkouts of the repository.
        known: a commit that is somebody else's; "" for none.
    """
    if target.locked is not None:
        yield f"it is locked{f': {target.locked}' if target.locked else ''}"
    for name, what in IN_PROGRESS.items():
        if (target.git_dir / name).exists():
            yield f"{what} is in progress"
    if target.is_there:
        yield from changes(target.root)
        yield from _submodules(target)
        if _is_below(Path(os.path.realpath(Path.cwd())), target.root):
            yield "it is the current directory"
    for other in others:
        if other.root != target.root and _is_below(other.root, target.root):
            yield f"another worktree lies in it: {other.root}"
    commits = [] if is_squashed(root, target.head) else unsaved_commits(root, target.branch, target.head, known)
    if commits:
        yield f"{_count(len(commits), 'commit')} neither pushed nor merged ({_named(commits)})"


def changes(checkout: Path) -> list[str]:
    """Say what is not committed: staged, changed, conflicting and untracked files."""
    listed = git(checkout, "status", "--porcelain", "-z", "--untracked-files=normal", "--ignore-submodules=none")
    found: dict[str, list[str]] = {}
    entries = iter(listed.split("\0"))
    for entry in entries:
        state, name = entry[:2], entry[3:]
        if not name:
            continue
        if state[0] in "RC":
            next(entries, "")  # what it was before
        kinds = ["untracked"] if state == "??" else ["staged"] * (state[0] != " ") + ["changed"] * (state[1] != " ")
        for kind in ["conflicting"] if "U" in state or state in ("AA", "DD") else kinds:
            found.setdefault(kind, []).append(name)
    return [f"{_count(len(names), f'{kind} file')} ({_named(names)})" for kind, names in found.items()]


def unsaved_commits(root: Path, branch: str, head: str, known: str = "") -> list[str]:
    """Return the commits that no other branch, no remote, no tag and no `known` commit has."""
    if not head:
        return []
    refs = [*([f"--exclude={branch}"] if branch else []), "--branches", "--remotes", "--tags", *filter(None, [known])]
    return git(root, "log", "--format=%h %s", head, "--not", *refs).splitlines()


def is_merged(root: Path, branch: str, head: str) -> bool:
    """Whether a branch is in a default branch, as it is or squashed, and so may go; a default branch itself stays."""
    targets = _defaults(root)
    if not head or branch in {
        name.removeprefix("refs/heads/").removeprefix("refs/remotes/origin/") for name in targets
    }:
        return False
    is_in = (_succeeds(root, "merge-base", "--is-ancestor", head, target) for target in targets)
    return any(is_in) or is_squashed(root, head)


def is_squashed(root: Path, head: str) -> bool:
    """Whether a default branch has what a branch changes, as one commit or with other changes beside it."""
    for target in _defaults(root) if head else ():
        base = ask(root, "merge-base", target, head)
        if not base or _tree(root, base) == _tree(root, head):
            continue
        if ask(root, "merge-tree", "--write-tree", target, head).split("\n")[0] == _tree(root, target):
            return True
        author = ("-c", "user.name=orienter", "-c", "user.email=orienter@localhost")
        squashed = ask(root, *author, "commit-tree", f"{head}^{{tree}}", "-p", base, "-m", f"{head} as one")
        if squashed and ask(root, "cherry", target, squashed).startswith("-"):
            return True
    return False


def _defaults(root: Path) -> list[str]:
    """Return the default branch of the remote, and the branch of the main checkout."""
    listed = ask(root, "worktree", "list", "--porcelain").split("\n\n")[0].splitlines()
    main = [line.removeprefix("branch ") for line in listed if line.startswith("branch ")]
    return [*filter(None, [ask(root, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")]), *main]


def _submodules(target: Registration) -> Iterator[str]:
    """Say what the repositories of submodules have, which lie in the worktree's own git directory."""
    for head in (target.git_dir / "modules").rglob("HEAD"):
        repository = head.parent
        if (repository / "objects").is_dir() and (repository / "config").is_file():
            here = ("--git-dir", str(repository))
            commits = git(target.root, *here, "log", "--format=%h %s", "HEAD", "--branches", "--not", "--remotes")
            name = repository.relative_to(target.git_dir / "modules")
            if commits:
                yield f"{_count(len(commits.splitlines()), 'commit')} of the submodule {name} not pushed"
            if ask(target.root, *here, "stash", "list"):
                yield f"a stash in the submodule {name}"


def _tree(root: Path, commit: str) -> str:
    return ask(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{tree}}")


def _succeeds(root: Path, *words: str) -> bool:
    try:
        git(root, *words)
    except CheckError:
        return False
    return True


def _is_below(path: Path, directory: Path) -> bool:
    return path == directory or directory in path.parents


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
