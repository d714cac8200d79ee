"""What a worktree has that is nowhere else, as the real git says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orienter_tasks.commands.worktree import unsaved
from orienter_tasks.machine import worktree
from tests.repositories import git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.machine.worktree import Registration


def commit(checkout: Path, name: str, text: str = "text") -> None:
    (checkout / name).write_text(text)
    git(checkout, "add", "--", name)
    git(checkout, "commit", "--quiet", f"--message=add {name}")


@pytest.fixture
def main(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "main", {"file": "text", ".gitignore": "ignored\n"})


@pytest.fixture
def tree(main: Path) -> Path:
    git(main, "worktree", "add", "--quiet", "-b", "one", str(main.parent / "one"))
    return main.parent / "one"


def registered(tree: Path) -> Registration:
    return next(each for each in worktree.registrations(worktree.read(tree)) if each.root == tree)


def losses(tree: Path) -> list[str]:
    listed = worktree.registrations(worktree.read(tree))
    return list(unsaved.losses(listed[0].root, registered(tree), listed))


def is_merged(tree: Path) -> bool:
    found = registered(tree)
    return unsaved.is_merged(tree, found.branch, found.head)


def test_nothing(tree: Path) -> None:
    (tree / "ignored").touch()
    git(tree, "sparse-checkout", "set", "nothing")
    assert losses(tree) == []
    assert is_merged(tree)


def test_changed_staged_renamed_and_untracked(main: Path, tree: Path) -> None:
    git(main, "config", "status.showUntrackedFiles", "no")
    for name in "abcd":
        commit(tree, name)
    git(main, "merge", "--quiet", "one")
    git(tree, "mv", "a", "renamed")
    for name in "bcd":
        (tree / name).write_text("changed")
    (tree / "file").unlink()
    (tree / "untracked 'é").mkdir()
    (tree / "untracked 'é" / "below").touch()
    assert losses(tree) == [
        "4 changed files (b, c, d, …)",
        "1 staged file (renamed)",
        "1 untracked file (untracked 'é/)",
    ]


def test_neither_pushed_nor_merged(main: Path, tree: Path) -> None:
    commit(tree, "work")
    assert len(losses(tree)) == 1
    assert losses(tree)[0].startswith("1 commit neither pushed nor merged (")
    assert losses(tree)[0].endswith("add work)")
    assert not is_merged(tree)
    git(main, "branch", "another", "one")  # there, it is kept
    assert losses(tree) == []
    assert not is_merged(tree)
    git(main, "merge", "--quiet", "--ff-only", "one")
    assert is_merged(tree)


def test_a_detached_commit(main: Path, tree: Path) -> None:
    git(tree, "checkout", "--quiet", "--detach")
    assert losses(tree) == []
    commit(tree, "work")
    assert "1 commit neither" in losses(tree)[0]
    git(main, "tag", "kept", git(tree, "rev-parse", "HEAD"))
    assert losses(tree) == []


def test_pushed(main: Path, tree: Path) -> None:
    commit(tree, "work")
    git(main, "clone", "--quiet", "--bare", str(main), str(main.parent / "origin"))
    git(main, "remote", "add", "origin", str(main.parent / "origin"))
    git(tree, "push", "--quiet", "origin", "one")
    assert losses(tree) == []
    assert not is_merged(tree)


@pytest.mark.parametrize("later", ["", "a", "c"])
def test_squashed(main: Path, tree: Path, later: str) -> None:
    commit(tree, "a", "1\n")
    commit(tree, "b")
    git(main, "merge", "--quiet", "--squash", "one")
    git(main, "commit", "--quiet", "--message=squashed")
    if later:
        commit(main, later, "2\n")
    assert losses(tree) == []
    assert is_merged(tree)


def test_what_was_undone_again_is_not_merged(tree: Path) -> None:
    commit(tree, "experiment")
    git(tree, "revert", "--no-edit", "HEAD")
    assert "2 commits neither" in losses(tree)[0]
    assert not is_merged(tree)


def test_a_default_branch_stays(main: Path, tree: Path) -> None:
    assert not unsaved.is_merged(tree, "main", git(main, "rev-parse", "main"))


def test_locked(main: Path, tree: Path) -> None:
    git(main, "worktree", "lock", "--reason", "on a stick", str(tree))
    assert losses(tree) == ["it is locked: on a stick"]


def test_a_rebase_in_progress(main: Path, tree: Path) -> None:
    commit(tree, "both", "one")
    commit(main, "both", "main")
    with pytest.raises(AssertionError):
        git(tree, "rebase", "--quiet", "main")
    assert losses(tree) == ["a rebase is in progress", "1 conflicting file (both)"]


def test_another_worktree_in_it(main: Path, tree: Path) -> None:
    git(main, "worktree", "add", "--quiet", "--detach", str(tree / "ignored"))
    assert losses(tree) == [f"another worktree lies in it: {tree / 'ignored'}"]


def test_the_current_directory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "ignored").mkdir()
    monkeypatch.chdir(tree / "ignored")
    assert losses(tree) == ["it is the current directory"]


def test_submodules(main: Path, tree: Path) -> None:
    module = make_repository(main.parent / "module", {"file": "text"})
    git(tree, "submodule", "--quiet", "add", str(module), "sub")
    git(tree, "commit", "--quiet", "--message=sub")
    git(main, "merge", "--quiet", "one")
    assert losses(tree) == []
    commit(tree / "sub", "more")
    git(tree, "commit", "--quiet", "--all", "--message=more")
    git(main, "merge", "--quiet", "one")
    assert losses(tree) == ["1 commit of the submodule sub not pushed"]
    (tree / "sub" / "file").write_text("changed")
    assert "1 changed file (sub)" in losses(tree)
    git(tree / "sub", "stash")
    assert "a stash in the submodule sub" in losses(tree)


def test_before_the_first_commit(main: Path, tree: Path) -> None:
    git(tree, "checkout", "--quiet", "--orphan", "empty")
    git(tree, "rm", "--quiet", "-rf", ".")
    assert losses(tree) == []
    assert not is_merged(tree)
