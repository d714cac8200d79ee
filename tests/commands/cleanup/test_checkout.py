"""What became of a checkout: the real git is asked to make each case."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from orienter_tasks.identity.checkouts import Checkout, CheckoutState, exists, is_missing, judge, owner_blocker
from orienter_tasks.identity.claims import new_token
from orienter_tasks.identity.ownership import MARKER
from orienter_tasks.machine import worktree
from tests.commands.cleanup.worlds import FATES, GONE, HERE, World, claim_of
from tests.repositories import git

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.commands.cleanup.worlds import Fate
    from tests.conftest import MakeRepo, MakeWorktree


@pytest.fixture
def tree(make_repo: MakeRepo, make_worktree: MakeWorktree) -> Path:
    return make_worktree(make_repo(), "feature")


def test_a_checkout_that_exists(tree: Path) -> None:
    found = judge(claim_of(tree))
    assert (found.state, found.place) == (CheckoutState.HERE, tree)


def test_removed_by_git(tree: Path) -> None:
    claim = claim_of(tree)
    git(tree.parents[1] / "repo", "worktree", "remove", "--force", str(tree))
    assert judge(claim).state is CheckoutState.GONE


def test_deleted_and_prunable_then_pruned(tree: Path) -> None:
    claim = claim_of(tree)
    shutil.rmtree(tree)
    found = judge(claim)
    assert found.state is CheckoutState.GONE
    assert "prunable" in found.reason
    git(Path(claim.main_root), "worktree", "prune")
    assert not Path(claim.git_dir).exists()
    assert judge(claim).state is CheckoutState.GONE


def test_locked_and_deleted(tree: Path) -> None:
    claim = claim_of(tree)
    git(tree, "worktree", "lock", "--reason", "on a stick", str(tree))
    assert judge(claim).state is CheckoutState.HERE
    shutil.rmtree(tree)
    assert judge(claim).state is CheckoutState.LOCKED
    git(Path(claim.main_root), "worktree", "unlock", str(tree))
    assert judge(claim).state is CheckoutState.GONE


@pytest.mark.parametrize("started", [True, False])
def test_moved_by_git(tree: Path, *, started: bool) -> None:
    claim = claim_of(tree, started=started)
    target = tree.parents[1] / "far" / "away" / "renamed"
    target.parent.mkdir(parents=True)
    git(Path(claim.main_root), "worktree", "move", str(tree), str(target))
    found = judge(claim)
    assert found.state is CheckoutState.MOVED
    assert str(target) in found.reason


def test_moved_by_git_and_then_not_to_be_seen(tree: Path) -> None:
    claim = claim_of(tree, started=False)
    target = tree.parent / "renamed"
    git(Path(claim.main_root), "worktree", "move", str(tree), str(target))
    shutil.rmtree(target)
    assert judge(claim).state is CheckoutState.UNCERTAIN


@pytest.mark.parametrize("where", ["worktrees/renamed", "other/place", "renamed"])
@pytest.mark.parametrize("pruned", [False, True])
def test_moved_by_hand_is_known_by_its_mark(tree: Path, where: str, *, pruned: bool) -> None:
    claim = claim_of(tree)
    target = tree.parents[1] / where
    target.parent.mkdir(parents=True, exist_ok=True)
    tree.rename(target)
    if pruned:
        git(Path(claim.main_root), "worktree", "prune")
        assert not Path(claim.git_dir).exists()
    found = judge(claim)
    assert (found.state, found.place) == (CheckoutState.MOVED, target)


def test_moved_far_away_is_found_where_one_is_told(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    claim = claim_of(tree)
    target = tmp_path_factory.mktemp("far") / "a" / "b" / "c" / "moved"
    target.parent.mkdir(parents=True)
    shutil.move(tree, target)
    assert judge(claim).state is CheckoutState.GONE
    assert judge(claim, [target]) == Checkout(CheckoutState.MOVED, f"its checkout was moved to {target}", target)


def test_a_copy_of_the_mark_of_another_claim_is_no_move(tree: Path) -> None:
    claim = claim_of(tree)
    copy = tree.with_name("copy")
    shutil.copytree(tree / ".dev-data", copy / ".dev-data")
    (copy / ".dev-data" / "instance-3" / MARKER).write_text(new_token() + "\n")
    shutil.rmtree(tree)
    assert judge(claim).state is CheckoutState.GONE


def test_a_disk_that_is_not_mounted(tree: Path) -> None:
    claim = msgspec.structs.replace(claim_of(tree), device=worktree.device_of(tree) + 1)
    assert judge(claim).state is CheckoutState.HERE
    shutil.rmtree(tree)
    assert judge(claim).state is CheckoutState.UNMOUNTED
    tree.mkdir()  # an empty mount point
    assert judge(claim).state is CheckoutState.UNMOUNTED


def test_it_is_missing_only_where_its_disk_is_mounted(make_repo: MakeRepo) -> None:
    claim = claim_of(make_repo())
    assert not is_missing(claim)
    shutil.rmtree(claim.root)
    assert is_missing(claim)
    assert not is_missing(msgspec.structs.replace(claim, device=claim.device + 1))


@pytest.mark.root
def test_a_real_mount_that_is_gone(make_repo: MakeRepo, tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"may not mount: {mounted.stderr.decode().strip()}")
    try:
        repo = make_repo()
        git(repo, "worktree", "add", "--quiet", "-b", "away", str(disk / "tree"))
        claim = claim_of(disk / "tree")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert not Path(claim.root).exists()
    assert judge(claim).state is CheckoutState.UNMOUNTED


def test_a_main_checkout_is_never_confirmed(make_repo: MakeRepo) -> None:
    repo = make_repo()
    claim = claim_of(repo)
    shutil.rmtree(repo)
    assert judge(claim).state is CheckoutState.UNCERTAIN


def test_a_main_checkout_below_a_directory_called_worktrees(make_repo: MakeRepo, tmp_path: Path) -> None:
    repo = make_repo("worktrees", under=tmp_path / "x")
    claim = claim_of(repo)
    shutil.rmtree(repo)
    assert judge(claim).state is CheckoutState.UNCERTAIN


def test_no_git_at_all(tmp_path: Path) -> None:
    root = tmp_path / "plain"
    root.mkdir()
    claim = claim_of(root)
    shutil.rmtree(root)
    assert judge(claim).state is CheckoutState.UNCERTAIN


def test_the_main_checkout_cannot_be_seen(tree: Path) -> None:
    claim = claim_of(tree)
    shutil.rmtree(tree)
    Path(claim.main_root).rename(tree.parents[1] / "repo-elsewhere")
    found = judge(claim)
    assert found.state is CheckoutState.UNCERTAIN
    assert "repository" in found.reason


def test_a_worktree_of_a_bare_repository(make_repo: MakeRepo, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", str(make_repo()), str(tmp_path / "bare.git"))
    root = tmp_path / "trees" / "feature"
    git(tmp_path / "bare.git", "worktree", "add", "--quiet", "-b", "feature", str(root))
    claim = claim_of(root)
    assert judge(claim).state is CheckoutState.HERE
    shutil.rmtree(root)
    assert judge(claim).state is CheckoutState.GONE


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: None, id="nothing but ours"),
        pytest.param(lambda root: (root / "notes.txt").write_text("mine"), id="a file"),
        pytest.param(lambda root: (root / "logs" / "mine.txt").write_text("mine"), id="a file in logs"),
        pytest.param(lambda root: (root / ".dev-data").symlink_to("/"), id="a link"),
    ],
)
def test_what_a_service_wrote_after_the_end(tree: Path, change: Callable[[Path], object]) -> None:
    claim = claim_of(tree, started=False)
    git(Path(claim.main_root), "worktree", "remove", "--force", str(tree))
    (tree / "logs" / "instance-3").mkdir(parents=True)
    (tree / "logs" / "instance-3" / "api.log").write_text("still here\n")
    change(tree)
    assert judge(claim).state is CheckoutState.GONE


def test_made_anew_at_the_same_place(tree: Path) -> None:
    claim = claim_of(tree)
    repo = Path(claim.main_root)
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    assert judge(claim).state is CheckoutState.GONE


def test_its_name_was_given_to_a_worktree_elsewhere(tree: Path) -> None:
    claim = claim_of(tree)
    repo = Path(claim.main_root)
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree.parents[1] / "other" / "feature"))
    assert Path(claim.git_dir).exists()
    assert judge(claim).state is CheckoutState.GONE


def test_relative_paths_of_newer_git(tree: Path) -> None:
    claim = claim_of(tree)
    relative = os.path.relpath(tree / ".git", claim.git_dir)
    (Path(claim.git_dir) / "gitdir").write_text(relative + "\n")
    assert judge(claim).state is CheckoutState.HERE
    shutil.rmtree(tree)
    assert judge(claim).state is CheckoutState.GONE


def test_a_link_that_leads_nowhere(tree: Path) -> None:
    claim = claim_of(tree)
    shutil.rmtree(tree)
    tree.symlink_to(tree.with_name("not-there"))
    assert judge(claim).state is CheckoutState.UNCERTAIN


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"/\xff\xfe/x", b"/a\0b/.git"])
def test_a_damaged_pointer_confirms_nothing(tree: Path, content: bytes) -> None:
    claim = claim_of(tree)
    shutil.rmtree(tree)
    (Path(claim.git_dir) / "gitdir").write_bytes(content)
    assert judge(claim).state is CheckoutState.UNCERTAIN


def test_permission_denied_is_not_gone(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claim_of(tree)
    original = os.lstat

    def lstat(path: str | Path, **kwargs: object) -> os.stat_result:
        if str(path).startswith(str(tree)):
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert judge(claim).state is CheckoutState.UNCERTAIN
    assert exists(tree)
    assert "cannot be seen" in owner_blocker(tree)


@pytest.mark.root
def test_what_lies_below_another_users_directory_is_that_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 1234, 1234)
    assert "another user" in owner_blocker(home / "code" / "gone")
    assert owner_blocker(tmp_path / "gone") == ""


@pytest.mark.parametrize("root", ["a\0b", "relative", "", "/" + "x" * 5000, "/\udcff"])
def test_a_root_that_is_none_is_no_crash(root: str) -> None:
    exists(Path(root))
    owner_blocker(Path(root))


@pytest.mark.parametrize("fate", FATES)
def test_the_made_worlds_are_as_git_makes_them(world: World, fate: Fate) -> None:
    found = judge(world.checkout(4, fate))
    assert (found.state is CheckoutState.GONE) == (fate in GONE)
    assert (found.state is CheckoutState.HERE) == (fate in HERE)
