"""Whose instance it is: every way in which git and the user move, copy, remove and repair checkouts."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.errors import ConflictError, NotFoundError
from orienter_tasks.identity import ownership
from orienter_tasks.identity.claims import Claims
from orienter_tasks.identity.ownership import DIRECTORY, Tokens
from orienter_tasks.identity.resolve import adopt
from orienter_tasks.instance.backends import Backends
from orienter_tasks.machine import worktree
from orienter_tasks.settings.load import load_settings
from tests.identity.conftest import request, write_marker
from tests.repositories import git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.identity.claims import Claim
    from tests.conftest import MakeRepo, MakeWorktree
    from tests.identity.conftest import Ask

NAME = "feature-a-1"  # hashes to 5
WAYS = "inv data.adopt 5 takes that data over, inv cleanup.instance 5 removes it"


def tokens_file(root: Path, project: str = "orienter") -> Path:
    git_dir = worktree.read(root).git_dir
    assert git_dir is not None
    return git_dir / DIRECTORY / f"{project}.json"


@pytest.fixture
def repo(make_repo: MakeRepo) -> Path:
    return make_repo()


@pytest.fixture
def tree(repo: Path, make_worktree: MakeWorktree) -> Path:
    return make_worktree(repo, NAME)


# what keeps an instance


@pytest.mark.parametrize(
    "words",
    [
        ("clean", "-fdxq"),
        ("gc", "--quiet", "--prune=now"),
        ("worktree", "prune"),
        ("switch", "--quiet", "--create", "other"),
        ("init", "--quiet"),
        ("worktree", "lock", "."),
        ("worktree", "repair"),
    ],
)
@pytest.mark.parametrize("linked", [True, False])
def test_git_keeps_it(repo: Path, tree: Path, ask: Ask, words: tuple[str, ...], *, linked: bool) -> None:
    root = tree if linked else repo
    if words == ("worktree", "lock", ".") and not linked:
        pytest.skip("a main checkout cannot be locked")
    before = ask(root)
    write_marker(before)
    git(root, *words)
    found = ask(root)
    assert (found.claim, found.source, found.notes) == (before.claim, "claim", ())


def test_a_move_by_git_keeps_it_without_data_dir(repo: Path, tree: Path, ask: Ask) -> None:
    before = ask(tree).claim
    there = tree.with_name("there")
    git(repo, "worktree", "move", str(tree), str(there))
    found = ask(there)
    assert (found.claim.token, found.claim.id, found.claim.root) == (before.token, 5, str(there))
    assert found.notes == (f"this checkout was moved here from {tree}; it keeps instance 5",)


@pytest.mark.parametrize("repaired", [False, True])
def test_a_move_by_hand_keeps_it(tree: Path, ask: Ask, *, repaired: bool) -> None:
    before = ask(tree).claim
    there = tree.with_name("there")
    tree.rename(there)
    if repaired:
        git(there, "worktree", "repair")
    assert ask(there).claim.token == before.token


def test_two_that_are_swapped_keep_theirs(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    first, second = ask(one).claim, ask(two).claim
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    assert ask(two).claim.token == first.token
    assert ask(one).claim.token == second.token
    assert (ask(one).claim.id, ask(two).claim.id) == (1, 0)


def test_two_worktrees_that_are_swapped_keep_theirs(repo: Path, make_worktree: MakeWorktree, ask: Ask) -> None:
    one, two = make_worktree(repo, "w1"), make_worktree(repo, "w2")
    first, second = ask(one).claim, ask(two).claim
    aside = one.with_name("aside")
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    git(repo, "worktree", "repair", str(one), str(two))
    assert (ask(two).claim.token, ask(one).claim.token) == (first.token, second.token)


def test_a_restored_backup_keeps_it(repo: Path, tmp_path: Path, ask: Ask) -> None:
    before = ask(repo).claim
    shutil.copytree(repo, tmp_path / "backup")
    shutil.rmtree(repo)
    shutil.copytree(tmp_path / "backup", repo)
    assert ask(repo).claim == before
    assert ask(tmp_path / "backup").claim.token != before.token


@pytest.mark.parametrize("separate", [False, True])
def test_a_worktree_of_a_bare_repository(tmp_path: Path, make_repo: MakeRepo, ask: Ask, *, separate: bool) -> None:
    project = tmp_path / "project"
    git(tmp_path, "clone", "--quiet", "--bare", str(make_repo()), str(project / ".bare"))
    if separate:
        (project / ".git").write_text("gitdir: ./.bare\n")
    root = project / NAME
    git(project / ".bare", "worktree", "add", "--quiet", "-b", "feature", str(root))
    before = ask(root).claim
    git(root, "worktree", "move", str(root), str(project / "there"))
    assert ask(project / "there").claim.token == before.token
    git(project / ".bare", "worktree", "remove", "--force", str(project / "there"))
    git(project / ".bare", "worktree", "add", "--quiet", "-b", "again", str(project / "there"))
    assert ask(project / "there").claim.token != before.token


def test_a_separate_git_dir_and_a_submodule(tmp_path: Path, make_repo: MakeRepo, ask: Ask) -> None:
    apart = make_repository(tmp_path / "apart", {"a": "a"}, "--separate-git-dir", str(tmp_path / "git"))
    library, repo = make_repo("library"), make_repo()
    git(repo, "submodule", "--quiet", "add", str(library), "lib")
    for root in (apart, repo / "lib"):
        before = ask(root).claim
        git(root, "clean", "-fdxq")
        assert ask(root).claim == before
        assert before.token in tokens_file(root).read_text()


# what is another checkout


def test_a_new_worktree_at_an_old_path_is_another(repo: Path, tree: Path, ask: Ask) -> None:
    before = ask(tree)
    write_marker(before)
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    found = ask(tree)
    assert found.claim.id == 6
    assert found.claim.token != before.claim.token
    assert found.notes == (
        f"id 5 has the data of a checkout that is gone ({tree}); this checkout is instance 6 from now on; {WAYS}",
    )


def test_a_new_worktree_where_nothing_is_left_gets_the_id(repo: Path, tree: Path, ask: Ask) -> None:
    before = ask(tree)
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    found = ask(tree, leftovers=lambda claim: False)
    assert (found.claim.id, found.notes) == (5, ())
    assert found.claim.token != before.claim.token


def test_a_new_worktree_where_one_was_moved_away(repo: Path, tree: Path, ask: Ask) -> None:
    before = ask(tree)
    there = tree.with_name("there")
    git(repo, "worktree", "move", str(tree), str(there))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    found = ask(tree, leftovers=lambda claim: False)  # the new one asks first
    assert found.claim.id == 6
    assert found.notes == (f"id 5 is held by {there}; this checkout is instance 6 from now on",)
    assert (ask(there).claim.token, ask(there).claim.id) == (before.claim.token, 5)
    assert ask(tree).claim.id == 6


def test_a_new_main_checkout_at_an_old_path_is_told(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    ask(repo)
    shutil.rmtree(repo)
    make_repo()
    with pytest.raises(ConflictError, match="id 0 has the data of a checkout that is gone") as caught:
        ask(repo)
    assert caught.value.hint == "inv data.adopt 0 takes that data over, inv cleanup.instance 0 removes it"
    assert ask(repo, leftovers=lambda claim: False).claim.id == 0


def test_a_copy_of_a_main_checkout_is_another(repo: Path, tmp_path: Path, ask: Ask) -> None:
    before = ask(repo).claim
    for number, keep in enumerate((True, False)):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(repo, copy, copy_function=shutil.copy2 if keep else shutil.copy)
        assert ask(copy).claim.id == number + 1
        assert before.token not in tokens_file(copy).read_text()
    assert ask(repo).claim == before


def test_a_copy_of_a_linked_worktree_is_another(tree: Path, ask: Ask) -> None:
    before = ask(tree)
    write_marker(before)
    copy = tree.with_name("copy")
    shutil.copytree(tree, copy)
    found = ask(copy)
    assert found.claim.token != before.claim.token
    write_marker(found)
    assert ask(copy).claim == found.claim
    assert ask(tree).claim == before.claim
    assert found.claim.token not in tokens_file(tree).read_text()


def test_a_hard_linked_copy_leaves_the_original_alone(repo: Path, tmp_path: Path, ask: Ask) -> None:
    before = ask(repo).claim
    written = tokens_file(repo).read_bytes()
    shutil.copytree(repo, tmp_path / "copy", copy_function=os.link)
    assert ask(tmp_path / "copy").claim.token != before.token
    assert tokens_file(repo).read_bytes() == written


def test_two_projects_of_one_repository_have_tokens_of_their_own(repo: Path, ask: Ask) -> None:
    shop = load_settings({"project": "shop"})
    one, two = ask(repo).claim, ask(repo, shop).claim
    assert {one.token in tokens_file(repo).read_text(), two.token in tokens_file(repo, "shop").read_text()} == {True}
    assert (ask(repo).claim, ask(repo, shop).claim) == (one, two)


# without a git directory of its own


def test_without_git_the_marker_tells(tmp_path: Path, ask: Ask) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    first, second = ask(one), ask(two)
    write_marker(first)
    write_marker(second)
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    assert ask(two).claim.token == first.claim.token
    assert ask(one).claim.token == second.claim.token


def test_a_git_directory_that_may_not_be_written(repo: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ownership, "write_private", refuse)
    before = ask(repo).claim
    assert not tokens_file(repo).exists()
    assert ask(repo).claim == before


@pytest.mark.parametrize("damage", [b"", b"{", b'{"tokens": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_written_anew(repo: Path, ask: Ask, damage: bytes) -> None:
    before = ask(repo)
    write_marker(before)
    tokens_file(repo).write_bytes(damage)
    assert ask(repo).claim == before.claim


def test_a_worktree_that_is_cut_off_from_its_repository(repo: Path, tree: Path, tmp_path: Path, ask: Ask) -> None:
    before = ask(tree)
    write_marker(before)
    repo.rename(tmp_path / "elsewhere")
    assert ask(tree).claim.token == before.claim.token
    shutil.rmtree(tree / ".dev-data")
    Claims().release(before.claim.token)
    with pytest.raises(ConflictError, match="it is unknown which instance this is") as caught:
        ask(tree)
    assert (caught.value.exit_code, "git worktree repair" in caught.value.hint) == (4, True)
    assert Claims().read() == []


# claims that were lost


def test_lost_claims_are_made_again_with_ids_and_tokens(repo: Path, make_worktree: MakeWorktree, ask: Ask) -> None:
    one, two = make_worktree(repo, NAME), make_worktree(repo, "feature-d-4")  # both hash to 5
    first, second = ask(one), ask(two)
    write_marker(first)
    write_marker(second)
    for claim in Claims().read():
        Claims().release(claim.token)
    for root, before in ((two, second), (one, first)):
        found = ask(root)
        assert (found.claim.id, found.claim.token) == (before.claim.id, before.claim.token)


def test_a_copy_does_not_get_the_token_of_a_lost_claim(repo: Path, tmp_path: Path, ask: Ask) -> None:
    before = ask(repo)
    write_marker(before)
    shutil.copytree(repo, tmp_path / "copy")
    Claims().release(before.claim.token)
    assert ask(tmp_path / "copy").claim.token != before.claim.token


# adoption


def adopted(root: Path, number: int, **others: Any) -> Claim:
    return adopt(request(root, load_settings(None), [], **others), Claims(), number)


def test_a_new_worktree_takes_over(repo: Path, tree: Path, ask: Ask) -> None:
    before = ask(tree).claim
    git(repo, "worktree", "remove", "--force", str(tree))
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    assert ask(tree).claim.id == 6
    claim = adopted(tree, 5, leftovers=lambda claim: claim.id == 5)
    assert (claim.id, claim.token, claim.root) == (5, before.token, str(tree))
    assert ask(tree).claim == claim
    assert Claims().read() == [claim]


def test_what_a_main_checkout_left_is_taken_over_from_elsewhere(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    before = ask(one).claim
    Claims().update(before.token, placed="docker nginx:embedded")
    shutil.rmtree(one)
    claim = adopted(two, 0, leftovers=lambda claim: claim.root == str(one))
    assert (claim.id, claim.root, claim.former_roots) == (0, str(two), (str(one),))
    assert claim.backends == Backends("docker", {"nginx": "embedded"})
    assert ask(two).claim == claim


def test_what_may_not_be_taken_over(repo: Path, tree: Path, make_worktree: MakeWorktree, ask: Ask) -> None:
    ask(repo)
    ask(tree)
    with pytest.raises(NotFoundError, match="no checkout of orienter holds id 3"):
        adopted(repo, 3)
    with pytest.raises(ConflictError, match="its checkout exists"):
        adopted(repo, 5)
    assert adopted(tree, 5).id == 5
    third = make_worktree(repo, "third")
    Claims().update(ask(third).claim.token, placed="embedded")
    shutil.rmtree(third)
    with pytest.raises(ConflictError, match="has data of its own"):
        adopted(tree, ask_id(third), leftovers=lambda claim: claim.root == str(tree))
    with pytest.raises(ConflictError, match="is in its old checkout") as caught:
        adopted(tree, ask_id(third))
    assert caught.value.hint.startswith(f"move it here first: mv {third}/.dev-data/instance-")
    with pytest.raises(ConflictError, match="says that this checkout is instance 4"):
        adopted(tree, ask_id(third), environ={"AI_INSTANCE_ID": "4"})


def ask_id(root: Path) -> int:
    return next(claim.id for claim in Claims().read() if claim.root == str(root))


# claims of versions that wrote no tokens


@pytest.mark.parametrize("cleaned", [False, True])
def test_a_claim_of_an_older_version_is_kept(tree: Path, ask: Ask, *, cleaned: bool) -> None:
    before = ask(tree)
    write_marker(before)
    shutil.rmtree(tokens_file(tree).parent)
    if cleaned:
        git(tree, "clean", "-fdxq")
    assert ask(tree).claim == before.claim


def test_a_claim_of_an_older_version_is_not_given_to_a_new_worktree(repo: Path, tree: Path, ask: Ask) -> None:
    ask(tree)
    git(repo, "worktree", "remove", "--force", str(tree))
    time.sleep(0.02)  # the clock of a file system is coarse
    git(repo, "worktree", "add", "--quiet", "-b", "again", str(tree))
    assert ask(tree).claim.id == 6


def test_the_file_has_what_its_reader_expects(repo: Path, ask: Ask) -> None:
    claim = ask(repo).claim
    file = tokens_file(repo)
    written = msgspec.json.decode(file.read_bytes(), type=Tokens)
    assert written == Tokens((claim.token,), str(repo), (repo / ".git").stat().st_ino)
    assert file.stat().st_mode & 0o777 == 0o600
