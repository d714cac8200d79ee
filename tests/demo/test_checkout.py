from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo import checkout
from tests.repositories import git

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeRepo, MakeWorktree


def test_the_branch_of_a_main_checkout_follows_a_switch(make_repo: MakeRepo) -> None:
    root = make_repo()
    assert checkout.branch(root) == "main"
    git(root, "switch", "--quiet", "--create", "feature/with/slashes")
    assert checkout.branch(root) == "feature/with/slashes"


def test_a_linked_worktree_has_a_branch_of_its_own(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    root = make_repo()
    linked = make_worktree(root, "linked", branch="side")
    assert checkout.branch(linked) == "side"
    assert checkout.branch(root) == "main"


def test_a_pointer_may_be_relative(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    linked = make_worktree(make_repo(), "linked", branch="side")
    (linked / ".git").write_text("gitdir: ../../repo/.git/worktrees/linked\n")
    assert checkout.branch(linked) == "side"


def test_a_detached_head_is_named_by_its_commit(make_repo: MakeRepo) -> None:
    root = make_repo()
    git(root, "switch", "--quiet", "--detach")
    assert checkout.branch(root) == f"detached at {git(root, 'rev-parse', 'HEAD')[:7]}"


def test_a_directory_outside_git_has_no_branch(tmp_path: Path) -> None:
    assert checkout.branch(tmp_path) is None


def test_a_pointer_to_a_repository_that_is_gone_gives_no_branch(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text(f"gitdir: {tmp_path}/gone/.git/worktrees/x\n")
    assert checkout.branch(tmp_path) is None
