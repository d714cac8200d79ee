"""What git says about a checkout, compared with real checkouts of the real git."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.machine import worktree
from orienter_tasks.machine.worktree import LOCAL_VARIABLES, outside_hook
from tests.repositories import git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeRepo, MakeWorktree

NAMES = ["plain", "we ird $(x) 'é\"", "日本語", "-dash", "worktrees", ".hidden", "line\nbreak"]


def test_a_main_checkout_is_not_linked(make_repo: MakeRepo) -> None:
    repo = make_repo()
    tree = worktree.read(repo)
    assert (tree.root, tree.linked, tree.git_dir, tree.main_root) == (repo, False, repo / ".git", repo)


@pytest.mark.parametrize("name", NAMES)
def test_a_linked_worktree(make_repo: MakeRepo, make_worktree: MakeWorktree, name: str) -> None:
    repo = make_repo()
    root = make_worktree(repo, name)
    tree = worktree.read(root)
    assert (tree.root, tree.linked, tree.main_root) == (root, True, repo)
    assert str(tree.git_dir) == git(root, "rev-parse", "--absolute-git-dir")


def test_from_a_subdirectory_the_checkout_is_found(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    root = make_worktree(make_repo(), "plain")
    below = root / "a" / "b"
    below.mkdir(parents=True)
    assert worktree.find_root(below) == root
    assert worktree.find_root(root) == root


def test_without_git_a_directory_is_its_own_checkout(tmp_path: Path) -> None:
    directory = tmp_path / "no git"
    directory.mkdir()
    assert worktree.find_root(directory) == directory
    tree = worktree.read(directory)
    assert (tree.linked, tree.git_dir, tree.main_root) == (False, None, directory)
    assert worktree.branch(directory) == ""


def test_a_link_to_a_checkout_leads_to_its_real_path(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo()
    link = tmp_path / "link"
    link.symlink_to(repo)
    assert worktree.find_root(link) == repo


@pytest.mark.parametrize("path", ["sub", "worktrees/sub", "deep/worktrees/sub"])
def test_a_submodule_is_not_a_worktree(make_repo: MakeRepo, path: str) -> None:
    library, repo = make_repo("library"), make_repo()
    git(repo, "submodule", "--quiet", "add", str(library), path)
    tree = worktree.read(repo / path)
    assert (repo / path / ".git").is_file()
    assert not tree.linked
    assert tree.main_root == repo / path


def test_a_submodule_of_a_linked_worktree_is_not_a_worktree(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    library, repo = make_repo("library"), make_repo()
    git(repo, "submodule", "--quiet", "add", str(library), "sub")
    git(repo, "commit", "--quiet", "--message=sub")
    root = make_worktree(repo, "plain")
    git(root, "submodule", "--quiet", "update", "--init")
    assert not worktree.read(root / "sub").linked


def test_a_worktree_of_a_submodule_is_linked(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    library, repo = make_repo("library"), make_repo()
    git(repo, "submodule", "--quiet", "add", str(library), "sub")
    assert worktree.read(make_worktree(repo / "sub", "of-sub")).linked


def test_a_worktree_of_a_bare_repository_is_linked(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    repo = make_repo()
    bare = repo.with_name("bare.git")
    git(repo, "clone", "--quiet", "--bare", ".", str(bare))
    root = make_worktree(bare, "plain")
    tree = worktree.read(root)
    assert (tree.linked, tree.main_root) == (True, root)


def test_a_separate_git_directory_is_no_worktree(tmp_path: Path) -> None:
    root = tmp_path / "apart"
    elsewhere = tmp_path / "worktrees" / "git"
    elsewhere.parent.mkdir()
    make_repository(root, {}, f"--separate-git-dir={elsewhere}")
    assert (root / ".git").is_file()
    assert not worktree.read(root).linked


@pytest.mark.parametrize("content", ["", "nonsense", "gitdir:", "gitdir: \0", "gitdir: /nonexistent/x", "\udcff"])
def test_a_broken_git_file_is_no_worktree(tmp_path: Path, content: str) -> None:
    (tmp_path / ".git").write_bytes(content.encode(errors="surrogateescape"))
    assert not worktree.read(tmp_path).linked
    assert worktree.branch(tmp_path) == ""


def test_a_worktree_whose_main_checkout_cannot_be_seen_is_still_one(
    make_repo: MakeRepo, make_worktree: MakeWorktree
) -> None:
    repo = make_repo()
    root = make_worktree(repo, "plain")
    repo.rename(repo.with_name("elsewhere"))
    assert worktree.read(root).linked


def test_branch(make_repo: MakeRepo, make_worktree: MakeWorktree) -> None:
    repo = make_repo()
    root = make_worktree(repo, "plain", branch="feature/é-1")
    assert worktree.branch(repo) == "main"
    assert worktree.branch(root) == "feature/é-1"
    git(root, "checkout", "--quiet", "--detach")
    assert git(root, "rev-parse", "HEAD").startswith(worktree.branch(root))
    assert len(worktree.branch(root)) == 9


def test_the_device_of_what_is_gone_is_its_parents(make_repo: MakeRepo) -> None:
    repo = make_repo()
    device = worktree.device_of(repo)
    shutil.rmtree(repo)
    assert worktree.device_of(repo / "deeper") == device


def test_what_git_sets_for_its_hooks() -> None:
    known = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True).stdout
    assert "GIT_INDEX_FILE" in known
    assert set(known.split()) <= LOCAL_VARIABLES
    assert outside_hook({"GIT_INDEX_FILE": "i", "GIT_AUTHOR_NAME": "me"}) == {"GIT_AUTHOR_NAME": "me"}
