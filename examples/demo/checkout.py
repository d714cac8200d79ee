"""Which branch a checkout is on, read from git's own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

POINTER = "gitdir:"
BRANCH = "ref: refs/heads/"
REFTABLE_PLACEHOLDER = ".invalid"
SHORT_HASH = 7


def branch(root: Path) -> str | None:
    """Return the branch's name, "detached at abc1234", or None where there is no checkout.

    In a linked worktree `.git` is a file that points at its git directory. A repository with the
    reftable format keeps only a placeholder in HEAD; there the answer is None too.
    """
    try:
        head = (_git_directory(root) / "HEAD").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    if head.startswith(BRANCH):
        name = head.removeprefix(BRANCH)
        return None if name == REFTABLE_PLACEHOLDER else name
    return f"detached at {head[:SHORT_HASH]}" if head and not head.startswith("ref:") else None


def _git_directory(root: Path) -> Path:
    git = root / ".git"
    if git.is_dir():
        return git
    pointer = git.read_text(encoding="utf-8", errors="replace").strip()
    return root / pointer.removeprefix(POINTER).strip()
