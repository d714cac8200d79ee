"""Which instance a checkout is: order, stickiness, collisions, moves, and refusals; by the real git and claims file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orienter_tasks.errors import BackendError, ConfigError, ConflictError
from orienter_tasks.identity.allocation import cksum, preferred_id, worktree_name
from orienter_tasks.identity.claims import Claim, Claims
from orienter_tasks.identity.resolve import acquire
from orienter_tasks.instance.backends import Backends
from orienter_tasks.machine import worktree
from orienter_tasks.settings.defaults import ports
from orienter_tasks.settings.load import load_settings
from tests import programs
from tests.identity.conftest import request, write_marker
from tests.repositories import git

if TYPE_CHECKING:
    from orienter_tasks.settings.model import Settings
    from tests.conftest import MakeRepo, MakeWorktree
    from tests.identity.conftest import Ask

WEIRD = "we ird $(x) 'é\""
SAME_SLOT = ("feature-a-1", "feature-d-4")  # both hash to 5


def slot(name: str) -> int:
    return cksum(name.encode()) % 9 + 1


# where the id comes from


def test_a_main_checkout_is_instance_0(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    found = ask(repo)
    assert (found.claim.id, found.source, found.notes) == (0, "main checkout", ())
    assert (found.claim.root, found.claim.main_root, found.claim.project) == (str(repo), str(repo), "orienter")
    assert found.claim.ports["postgres"] == 5432


@pytest.mark.parametrize("name", ["feature-a-1", "feature-e-5", WEIRD, "日本語"])
def test_a_linked_worktree_is_the_hash_of_its_name(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask, name: str
) -> None:
    root = make_worktree(make_repo(), name)
    found = ask(root)
    assert (found.claim.id, found.source, found.claim.worktree) == (slot(name), "worktree", name)
    assert found.claim.git_dir == git(root, "rev-parse", "--absolute-git-dir")
    assert found.claim.main_root == str(root.parent.parent / "repo")


def test_the_hash_is_that_of_the_cksum_program(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    name = "é feature"
    printed = subprocess.run(["cksum"], input=name.encode(), capture_output=True, check=True).stdout
    assert ask(make_worktree(make_repo(), name)).claim.id == int(printed.split()[0]) % 9 + 1


def test_below_claude_worktrees_the_path_says_it_even_to_a_clone(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    clone = make_repo("feature-b-2", under=tmp_path / "claude-worktrees" / "orienter")
    found = ask(clone)
    assert (found.claim.id, found.source) == (slot("feature-b-2"), "worktree")
    assert not worktree.read(clone).linked


def test_below_claude_worktrees_the_name_is_the_third_part(make_repo: MakeRepo, tmp_path: Path) -> None:
    deep = make_repo("app", under=tmp_path / "claude-worktrees" / "orienter" / "feature-b-2" / "packages")
    assert worktree_name(worktree.read(deep)) == "feature-b-2"
    shallow = make_repo("orienter", under=tmp_path / "other" / "claude-worktrees")
    assert worktree_name(worktree.read(shallow)) is None


def test_a_submodule_is_a_main_checkout(make_repo: MakeRepo, ask: Ask) -> None:
    library, repo = make_repo("library"), make_repo()
    git(repo, "submodule", "--quiet", "add", str(library), "worktrees/sub")
    found = ask(repo / "worktrees" / "sub")
    assert (found.claim.id, found.source) == (0, "main checkout")


def test_from_a_subdirectory_it_is_the_checkout(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    root = make_worktree(make_repo(), "feature-c-3")
    below = root / "packages" / "app"
    below.mkdir(parents=True)
    assert ask(worktree.find_root(below)).claim == ask(root).claim


def test_the_order_environment_dotenv_claim(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    root = make_worktree(make_repo(), "feature-a-1")
    assert (ask(root).claim.id, ask(root).source) == (5, "claim")
    written = ask(root, dotenv={"AI_INSTANCE_ID": "3"})
    assert (written.claim.id, written.source) == (3, ".env")
    inherited = ask(root, dotenv={"AI_INSTANCE_ID": "3"}, environ={"AI_INSTANCE_ID": "2"})
    assert (inherited.claim.id, inherited.source) == (2, "environment")
    again = ask(root, dotenv={"AI_INSTANCE_ID": "3"}, environ={"AI_INSTANCE_ID": ""})
    assert (again.claim.id, again.source) == (3, ".env")
    assert {claim.id for claim in Claims().read()} == {5, 3, 2}


def test_asking_again_writes_nothing(make_repo: MakeRepo, ask: Ask, isolated: Path) -> None:
    repo = make_repo()
    first = ask(repo).claim
    before = (isolated / "claims.json").stat()
    assert ask(repo).claim == first
    assert (isolated / "claims.json").stat().st_mtime_ns == before.st_mtime_ns


# what is no id


@pytest.mark.parametrize(
    "text", ["abc", "-1", "10", " 3", "3 ", "3\n", "٣", "²", "03", "00", "+3", "1.0", "0x1", "1_0", "9" * 5000]
)
def test_what_is_no_id_is_refused(make_repo: MakeRepo, ask: Ask, text: str) -> None:
    repo = make_repo()
    asked = {"AI_INSTANCE_ID": text}
    for others in ({"environ": asked}, {"dotenv": asked}):
        with pytest.raises(ConfigError, match="is not an instance id") as caught:
            ask(repo, None, **others)
        assert caught.value.exit_code == 2
        assert "0 to 9" in caught.value.line()
    assert Claims().read() == []


def test_every_id_up_to_the_highest_may_be_asked_for(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    for number in (0, 1, 9):
        assert ask(repo, environ={"AI_INSTANCE_ID": str(number)}).claim.id == number
    settings = load_settings({"instances": {"max": 56}})
    assert ask(repo, settings, environ={"AI_INSTANCE_ID": "56"}).claim.ports["minio_console"] == 65001


# whose it is


def test_an_id_of_another_checkout_is_refused_naming_both(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    root = make_worktree(repo, "feature-a-1")
    ask(repo)
    for others in ({"environ": {"AI_INSTANCE_ID": "0"}}, {"dotenv": {"AI_INSTANCE_ID": "0"}}):
        with pytest.raises(ConflictError) as caught:
            ask(root, None, **others)
        assert caught.value.exit_code == 4
        assert str(repo) in caught.value.line()
        assert str(root) in caught.value.line()
        assert "which exists" in caught.value.line()
    assert [claim.root for claim in Claims().read()] == [str(repo)]


def test_an_id_exported_for_another_checkout_is_refused(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    root = make_worktree(repo, "feature-a-1")
    exported = {"AI_INSTANCE_ID": "5", "AI_INSTANCE_ROOT": str(repo)}
    with pytest.raises(ConflictError) as caught:
        ask(root, environ=exported)
    assert caught.value.exit_code == 4
    assert f"was exported for {repo}, but this checkout is {root}" in caught.value.line()
    assert Claims().read() == []


def test_an_id_exported_for_this_checkout_is_taken(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    repo = make_repo()
    link = tmp_path / "link"
    link.symlink_to(repo)
    for root in (str(repo), str(link), str(repo) + "/"):
        assert ask(repo, environ={"AI_INSTANCE_ID": "4", "AI_INSTANCE_ROOT": root}).claim.id == 4
    assert ask(repo, environ={"AI_INSTANCE_ROOT": "/elsewhere"}).claim.id == 4


# collisions


def test_two_names_of_one_slot_get_two_ids_for_good(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    repo = make_repo()
    first, second = (make_worktree(repo, name) for name in SAME_SLOT)
    assert ask(first).claim.id == 5
    found = ask(second)
    assert found.claim.id == 6
    assert found.notes == (f"id 5 is held by {first}; this checkout is instance 6 from now on",)
    assert ask(second).notes == ()
    git(repo, "worktree", "remove", "--force", str(first))
    Claims().release(Claims().read()[0].token)
    assert (ask(second).claim.id, ask(second).source) == (6, "claim")


def test_the_next_free_id_goes_around_and_never_to_0(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    five = make_worktree(repo, "feature-a-1")
    for number in (5, 6, 7, 8, 9):
        ask(five, environ={"AI_INSTANCE_ID": str(number)})
    assert ask(make_worktree(repo, "feature-d-4")).claim.id == 1


def test_a_second_clone_is_moved_on(make_repo: MakeRepo, ask: Ask) -> None:
    first, second, third = make_repo("one"), make_repo("two"), make_repo("three")
    assert ask(first).claim.id == 0
    found = ask(second)
    assert (found.claim.id, found.source) == (1, "main checkout")
    assert found.notes == (f"id 0 is held by {first}; this checkout is instance 1 from now on",)
    assert ask(third).claim.id == 2


def test_another_project_with_the_same_ports_never_meets(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    ask(one)
    found = ask(two, load_settings({"project": "shop"}))
    assert found.claim.id == 1
    ports = "ports 80 (nginx), 4097 (whatsapp), 4098 (dashboard) and 5 more"
    assert found.notes[0].startswith(f"{ports} of id 0 are held by instance 0 of orienter ({one})")
    mine, theirs = (set(claim.ports.values()) for claim in Claims().read())
    assert not mine & theirs


def test_another_project_with_other_ports_gets_its_preferred_id(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    ask(one)
    shop = load_settings({"project": "shop", "ports": {name: 20_300 + i for i, name in enumerate(ports())}})
    found = ask(two, shop)
    assert (found.claim.id, found.notes) == (0, ())
    assert ask(one).claim.id == 0


def test_one_port_in_common_is_enough_to_be_moved_on(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    ask(one)
    names = ["nginx", "whatsapp", "dashboard", "opencode", "vite", "postgres", "minio_api"]
    shop = load_settings({"project": "shop", "ports": {name: 20_300 + i for i, name in enumerate(names)}})
    assert ask(two, shop).claim.id == 1  # both have 9001


def test_a_project_that_is_moved_to_meet_another_is_refused(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    ask(one)
    bases = {name: 20_300 + i for i, name in enumerate(ports())}
    ask(two, load_settings({"project": "shop", "ports": bases}))
    with pytest.raises(ConflictError, match="overlap those of instance 0 of orienter") as caught:
        ask(two, load_settings({"project": "shop", "ports": {**bases, "postgres": 5432}}))
    assert str(one) in caught.value.line()
    assert ask(two, load_settings({"project": "shop", "ports": bases})).claim.ports["postgres"] == bases["postgres"]


def test_ports_follow_the_settings(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    token = ask(repo).claim.token
    changed = ask(repo, load_settings({"ports": {"gateway": 4100}}))
    assert (changed.claim.token, changed.claim.ports["gateway"]) == (token, 4100)
    assert Claims().read() == [changed.claim]


def test_all_ids_taken(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    settings = load_settings({"instances": {"max": 2}})
    repo = make_repo()
    roots = [make_worktree(repo, f"w{number}") for number in range(3)]
    assert {ask(root, settings).claim.id for root in roots[:2]} == {1, 2}
    with pytest.raises(ConflictError, match="1 to 2 of orienter are taken") as caught:
        ask(roots[2], settings)
    assert caught.value.exit_code == 4
    assert len(caught.value.details) == 2
    assert all(any(row.endswith(str(root)) for row in caught.value.details) for root in roots[:2])
    assert "since 20" in caught.value.details[0]
    assert ask(repo, settings).claim.id == 0


def test_all_ids_taken_by_another_project_names_that(make_repo: MakeRepo, ask: Ask) -> None:
    settings = load_settings({"instances": {"max": 0}})
    one, two = make_repo("one"), make_repo("two")
    ask(one, settings)
    with pytest.raises(ConflictError, match="0 to 0 of shop are taken") as caught:
        ask(two, load_settings({"instances": {"max": 0}, "project": "shop"}))
    assert len(caught.value.details) == 1
    assert "of orienter" in caught.value.details[0]
    assert caught.value.details[0].endswith(str(one))


def test_with_one_instance_a_worktree_may_have_it(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    settings = load_settings({"instances": {"max": 0}})
    assert ask(make_worktree(make_repo(), "feature-a-1"), settings).claim.id == 0


@pytest.mark.parametrize(("highest", "slots"), [(1, 1), (3, 3), (9, 9), (56, 9)])
def test_the_slots_fit_below_the_highest_id(
    make_repo: MakeRepo, make_worktree: MakeWorktree, highest: int, slots: int
) -> None:
    tree = worktree.read(make_worktree(make_repo(), WEIRD))
    assert preferred_id(tree, highest) == cksum(WEIRD.encode()) % slots + 1


def test_an_id_above_a_lowered_highest_is_told(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    root = make_worktree(make_repo(), "feature-a-1")
    assert ask(root).claim.id == 5
    with pytest.raises(ConfigError, match=r"holds id 5, but orienter\.instances\.max is 3") as caught:
        ask(root, load_settings({"instances": {"max": 3}}))
    assert "inv cleanup.instance 5" in caught.value.hint
    assert ask(root, load_settings({"instances": {"max": 20}})).claim.id == 5


# checkouts that are gone


def test_an_id_is_released_only_when_nothing_of_it_is_left(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    first, second = (make_worktree(repo, name) for name in SAME_SLOT)
    gone = ask(first).claim
    git(repo, "worktree", "remove", "--force", str(first))
    asked: list[Claim] = []

    def nothing_left(claim: Claim) -> bool:
        asked.append(claim)
        return False

    found = ask(second, leftovers=nothing_left)
    assert (found.claim.id, found.notes) == (5, ())
    assert asked == [gone]
    assert Claims().read() == [found.claim]


def test_an_id_whose_data_stands_is_given_to_nobody(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    repo = make_repo()
    first, second = (make_worktree(repo, name) for name in SAME_SLOT)
    ask(first)
    shutil.rmtree(first)
    assert ask(second).claim.id == 6
    with pytest.raises(ConflictError, match="which is gone but has left data") as caught:
        ask(second, environ={"AI_INSTANCE_ID": "5"})
    assert str(first) in caught.value.line()
    assert len(Claims().read()) == 2


def test_a_checkout_that_exists_is_never_asked_about(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    first, second = (make_worktree(repo, name) for name in SAME_SLOT)
    ask(first)
    assert ask(second, leftovers=lambda claim: pytest.fail("it exists")).claim.id == 6


def test_a_checkout_that_is_not_mounted_is_not_gone(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    repo = make_repo()
    first, second = (make_worktree(repo, name) for name in SAME_SLOT)
    claim = ask(first).claim
    Claims().update(claim.token, device=claim.device + 1)  # it lay on another disk than what is there now
    shutil.rmtree(first)
    assert ask(second, leftovers=lambda claim: False).claim.id == 6
    assert {held.root for held in Claims().read()} == {str(first), str(second)}


def test_the_device_follows_a_restart(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    claim = ask(repo).claim
    Claims().update(claim.token, device=claim.device + 1)
    assert ask(repo).claim.device == claim.device
    assert Claims().read() == [claim]


# checkouts that were moved


def test_a_worktree_that_git_moved_keeps_its_id(make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask) -> None:
    repo = make_repo()
    root = make_worktree(repo, "feature-a-1")
    before = ask(root)
    write_marker(before)
    acquire(request(root, load_settings(None)), Claims(), lambda claim: Backends("docker"))
    there = root.with_name("elsewhere")
    git(repo, "worktree", "move", str(root), str(there))
    found = ask(there)
    assert (found.claim.id, found.claim.token, found.claim.placed) == (5, before.claim.token, "docker")
    assert (found.claim.root, found.claim.former_roots) == (str(there), (str(root),))
    assert found.claim.worktree == "elsewhere"
    assert found.claim.claimed_at == before.claim.claimed_at
    assert found.notes == (f"this checkout was moved here from {root}; it keeps instance 5",)
    assert Claims().read() == [found.claim]
    assert ask(there).notes == ()


def test_a_main_clone_that_was_moved_twice_keeps_its_id(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    other, repo = make_repo("other"), make_repo()
    ask(other)
    before = ask(repo)
    assert before.claim.id == 1
    write_marker(before)
    second, third = tmp_path / "second", tmp_path / "third"
    repo.rename(second)
    assert ask(second).claim.former_roots == (str(repo),)
    second.rename(third)
    assert ask(third).claim.former_roots == (str(repo), str(second))
    third.rename(repo)
    back = ask(repo).claim
    assert (back.id, back.root, back.former_roots) == (1, str(repo), (str(second), str(third)))


def test_a_moved_checkout_keeps_the_id_that_its_dotenv_asks_for(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    repo = make_repo()
    before = ask(repo, dotenv={"AI_INSTANCE_ID": "3"})
    write_marker(before)
    repo.rename(tmp_path / "moved")
    found = ask(tmp_path / "moved", dotenv={"AI_INSTANCE_ID": "3"})
    assert (found.claim.id, found.claim.token, found.source) == (3, before.claim.token, ".env")


def test_a_moved_checkout_of_two_ids_keeps_both(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    repo = make_repo()
    write_marker(ask(repo))
    write_marker(ask(repo, environ={"AI_INSTANCE_ID": "3"}))
    repo.rename(tmp_path / "moved")
    assert ask(tmp_path / "moved").claim.id == 3  # it was used last
    assert ask(tmp_path / "moved", environ={"AI_INSTANCE_ID": "0"}).source == "environment"
    assert {(claim.id, claim.root) for claim in Claims().read()} == {
        (0, str(tmp_path / "moved")),
        (3, str(tmp_path / "moved")),
    }


def test_a_copy_is_another_checkout(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    repo = make_repo()
    write_marker(ask(repo))
    shutil.copytree(repo, tmp_path / "copy")
    assert ask(tmp_path / "copy").claim.id == 1
    assert ask(repo).claim.id == 0


def test_a_copy_of_what_is_not_mounted_is_another_checkout(make_repo: MakeRepo, tmp_path: Path, ask: Ask) -> None:
    repo = make_repo()
    before = ask(repo)
    write_marker(before)
    Claims().update(before.claim.token, device=before.claim.device + 1)
    shutil.copytree(repo, tmp_path / "backup")
    shutil.rmtree(repo)
    assert ask(tmp_path / "backup").claim.id == 1
    assert before.claim.token in {claim.token for claim in Claims().read()}


def test_a_marker_that_cannot_be_read_is_passed_over(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    (repo / ".dev-data/instance-1/claim").mkdir(parents=True)
    (repo / ".dev-data/instance-2").mkdir()
    (repo / ".dev-data/instance-2/claim").write_bytes(b"\xff\0")
    assert ask(repo).claim.id == 0


def test_a_new_worktree_where_another_lay_does_not_inherit_its_data(
    make_repo: MakeRepo, make_worktree: MakeWorktree, ask: Ask
) -> None:
    repo = make_repo()
    root = make_worktree(repo, "feature-a-1")
    write_marker(ask(root))
    git(repo, "worktree", "remove", "--force", str(root))
    again = make_worktree(repo, "feature-a-1", under=root.parent / "deeper")
    assert ask(again).claim.id == 6


# ports below 1024


def unprivileged(port: int, backend: str) -> bool:
    assert port < 1024
    return backend != "docker"


def test_where_port_80_may_not_be_bound_nginx_is_on_8080(make_repo: MakeRepo, ask: Ask) -> None:
    repo = make_repo()
    found = ask(repo, unbindable=unprivileged)
    assert (found.claim.ports["nginx"], found.claim.moved) == (8080, {"nginx": 8080})
    assert found.notes == ("nginx may not bind port 80 without privileges: it is on 8080",)
    again = ask(repo, unbindable=unprivileged)
    assert (again.claim, again.notes) == (found.claim, ())


def test_only_instance_0_is_moved(make_repo: MakeRepo, ask: Ask) -> None:
    found = ask(make_repo(), unbindable=unprivileged, environ={"AI_INSTANCE_ID": "1"})
    assert (found.claim.ports["nginx"], found.claim.moved, found.notes) == (1080, {}, ())


def test_an_explicit_0_is_told_too(make_repo: MakeRepo, ask: Ask) -> None:
    found = ask(make_repo(), unbindable=unprivileged, environ={"AI_INSTANCE_ID": "0"})
    assert found.notes == ("nginx may not bind port 80 without privileges: it is on 8080",)


def test_where_instance_8_has_8080_nginx_is_on_10080(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    assert ask(one, environ={"AI_INSTANCE_ID": "8"}).claim.ports["nginx"] == 8080
    found = ask(two, unbindable=unprivileged)
    assert (found.claim.id, found.claim.ports["nginx"]) == (0, 10080)


def test_instance_8_makes_way_for_what_is_on_8080(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    ask(one, unbindable=unprivileged)
    with pytest.raises(ConflictError, match="instance 0 of orienter holds it or its ports"):
        ask(two, environ={"AI_INSTANCE_ID": "8"})


def test_nginx_does_not_move_onto_a_port_of_our_own(make_repo: MakeRepo, ask: Ask) -> None:
    settings = load_settings({"ports": {"gateway": 10080, "nginx": 81, "other": 8081}, "instances": {"max": 1}})
    found = ask(make_repo(), settings, unbindable=unprivileged)
    assert found.claim.moved == {"nginx": 2081}
    taken = load_settings({"ports": {"gateway": 8080}, "instances": {"max": 1}})
    assert ask(make_repo("two"), taken, unbindable=unprivileged).claim.ports["nginx"] != 8080


def test_a_settled_backend_settles_the_port(make_repo: MakeRepo, settings: Settings, ask: Ask) -> None:
    repo, notes = make_repo(), list[str]()
    claim = ask(repo, unbindable=unprivileged).claim
    asked = request(repo, settings, notes, unbindable=unprivileged)
    same = acquire(asked, Claims(), lambda claim: Backends("embedded"))
    assert (same.ports, same.placed, notes) == (claim.ports, "embedded", [])
    docker = acquire(asked, Claims(), lambda claim: Backends("docker"))
    assert (docker.ports["nginx"], docker.moved, docker.placed) == (80, {}, "docker")
    assert docker.used_at >= claim.used_at
    assert ask(repo, unbindable=unprivileged).claim == docker
    embedded = acquire(asked, Claims(), lambda claim: Backends("embedded"))
    assert (embedded.ports["nginx"], embedded.placed) == (8080, "embedded")
    assert notes == ["nginx may not bind port 80 without privileges: it is on 8080"]
    assert ask(repo).claim == embedded  # with data, the port stays where it is


def test_a_backend_that_would_meet_another_project_is_refused(make_repo: MakeRepo, ask: Ask) -> None:
    one, two = make_repo("one"), make_repo("two")
    names = [name for name in ports() if name != "nginx"]
    shop = load_settings({"project": "shop", "ports": {name: 20_300 + i for i, name in enumerate(names)}})
    claim = ask(one, shop, unbindable=unprivileged).claim
    assert (claim.id, ask(two).claim.id) == (0, 0)
    with pytest.raises(ConflictError, match="overlap those of instance 0 of orienter"):
        acquire(request(one, shop, unbindable=unprivileged), Claims(), lambda claim: Backends("docker"))
    assert claim in Claims().read()


def test_a_backend_that_cannot_be_used_leaves_the_claim_without(make_repo: MakeRepo, settings: Settings) -> None:
    def refuse(claim: Claim) -> Backends:
        raise BackendError(f"not for {claim.id}")

    with pytest.raises(BackendError, match="not for 0"):
        acquire(request(make_repo(), settings), Claims(), refuse)
    assert [(claim.id, claim.placed) for claim in Claims().read()] == [(0, "")]


def test_a_backend_that_another_start_settles_meanwhile_is_decided_on_again(
    make_repo: MakeRepo, settings: Settings
) -> None:
    seen: list[str] = []

    def decide(claim: Claim) -> Backends:
        seen.append(claim.placed)
        if len(seen) == 1:
            Claims().update(claim.token, placed="docker", services=("web",))
        return claim.backends or Backends("embedded")

    claim = acquire(request(make_repo(), settings), Claims(), decide)
    assert seen == ["", "docker"]
    assert (claim.placed, claim.services) == ("docker", ("web",))
    assert Claims().read() == [claim]


# odd roots


def test_the_root_of_the_file_system_is_no_checkout(ask: Ask) -> None:
    with pytest.raises(ConfigError, match="cannot be an instance"):
        ask(Path("/"))


# many at once


def test_twenty_processes_at_once_get_different_ids_or_are_refused(tmp_path: Path) -> None:
    roots = [tmp_path / "claude-worktrees" / "orienter" / f"agent-{number}" for number in range(20)]
    for root in roots:
        root.mkdir(parents=True)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = programs.command("claim_at_once", *map(str, roots))
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    answers = [line.split() for line in done.stdout.splitlines()]
    assert {name for name, _, _ in answers} == {root.name for root in roots}
    given = {name: int(number) for name, number, code in answers if code == "0"}
    assert sorted(given.values()) == list(range(1, 10))
    assert sorted(code for _, _, code in answers) == ["0"] * 9 + ["4"] * 11
    assert {Path(claim.root).name: claim.id for claim in Claims().read()} == given
