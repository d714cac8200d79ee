"""`worktree.new`, `.rm` and `.list` of a host without PostgreSQL and S3: nothing is started, git is the real one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks.commands.worktree import unfinished
from tests import slot
from tests.integration.checkouts import TASKS, Checkout, Host
from tests.integration.left import processes_of
from tests.integration.small import ORIENT, Running, complaint, wait_for
from tests.integration.test_bad_machine import run
from tests.repositories import GIT_ENV, git, make_repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.checkouts import Answer


class Repository(Host):
    """A host whose worktrees go beside its main checkout."""

    def __init__(self, directory: Path, **orienter: Any) -> None:
        settings = {
            "project": slot.project("trees"),
            "ports": slot.bases(),
            "infra": {"postgres": None, "minio": None},
            "services": dict.fromkeys(ORIENT),
            "worktree": {"path": str(directory / "trees" / "{name}"), **orienter.pop("worktree", {})},
        }
        super().__init__(directory, "embedded", {**settings, **orienter}, environ=GIT_ENV)
        self.trees = directory / "trees"

    def new(self, name: str, *words: str, code: int | None = 0) -> Answer:
        """Make a worktree that is not started."""
        return self.main.inv("worktree.new", name, "--no-start", *words, code=code)

    def rm(self, name: str, *words: str, code: int | None = 0) -> Answer:
        return self.main.inv("worktree.rm", name, *words, code=code)

    @property
    def branches(self) -> list[str]:
        return git(self.main.path, "branch", "--format=%(refname:short)").splitlines()

    @property
    def listed(self) -> dict[str, Any]:
        """What `worktree.list` says, by name."""
        found = self.main.inv("worktree.list", "--json").json["worktrees"]
        return {each["name"]: each for each in found}

    def is_as_at_first(self) -> bool:
        """Whether there is nothing of any worktree any more."""
        left = [*self.trees.glob("*"), *(self.main.path / ".git" / "worktrees").glob("*")]
        left += (self.main.path / ".git" / "orienter" / "unfinished").glob("*")
        claims = self.directory.parent / "claims.json"
        return left == [] and self.branches == ["main"] and not claims.exists()


def commit(checkout: Path, name: str, text: str = "text") -> None:
    (checkout / name).write_text(text)
    git(checkout, "add", "--", name)
    git(checkout, "commit", "--quiet", f"--message=add {name}")


@pytest.fixture
def host(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "home")


@pytest.fixture
def upstream(host: Repository) -> Path:
    """A remote, `origin`, with branch `theirs` and pull request 7."""
    path = host.directory / "origin"
    host.git("clone", "--quiet", "--bare", str(host.main.path), str(path))
    host.git("remote", "add", "origin", str(path))
    host.git("checkout", "--quiet", "-b", "theirs")
    commit(host.main.path, "theirs")
    host.git("push", "--quiet", "origin", "theirs")
    commit(host.main.path, "invoke.yaml", "{orienter: {evil: 1}}")
    host.git("push", "--quiet", "origin", "HEAD:refs/pull/7/head")
    host.git("checkout", "--quiet", "main")
    host.git("branch", "--quiet", "-D", "theirs")
    host.git("fetch", "--quiet", "origin")
    return path


def test_a_new_branch_and_away_again(host: Repository) -> None:
    (host.main.path / ".env").write_text(f"SECRET=1\nPORT={slot.bases()['dashboard']}\n")
    answer = host.new("feature/login")
    path = host.trees / "feature-login"
    assert answer.out == f"{path}\n"
    assert git(path, "branch", "--show-current") == "feature/login"
    found = host.listed["feature-login"]
    assert (found["branch"], found["instance"]["state"], found["notes"]) == ("feature/login", "stopped", {})
    port = slot.bases()["dashboard"] + 1000 * found["instance"]["id"]
    assert (path / ".env").read_text() == f"SECRET=1\nPORT={port}\n"
    assert "feature/login" in host.main.inv("worktree.list").out

    assert "branch feature/login, which is merged" in host.rm("feature/login").err
    assert not path.exists()
    assert host.branches == ["main"]
    assert list(host.listed) == ["orienter"]
    assert host.main.inv("instances", "--json").json["instances"] == []


def test_from_another_worktree_and_an_existing_branch(host: Repository) -> None:
    host.git("branch", "existing")
    host.new("one")
    one = Checkout(host.trees / "one", host.environ)
    commit(one.path, "work")
    assert one.inv("worktree.new", "two", "--no-start").out == f"{host.trees / 'two'}\n"
    assert (host.trees / "two" / "work").exists()  # it begins with what is checked out where it is called
    one.inv("worktree.new", "existing", "--no-start")
    assert git(host.trees / "existing", "branch", "--show-current") == "existing"
    assert "checked out at" in complaint(host.new("existing", code=4))
    assert "the branch main is checked out" in complaint(host.new("main", code=4))
    assert "exists already" in complaint(host.new("existing", "--base", "main", code=4))
    assert {*host.listed} == {"orienter", "one", "two", "existing"}


def test_a_remote_branch_a_commit_and_a_pull_request(host: Repository, upstream: Path) -> None:
    (host.main.path / ".env").write_text("SECRET=1\n")
    host.new("origin/theirs")
    assert git(host.trees / "theirs", "rev-parse", "--abbrev-ref", "@{upstream}") == "origin/theirs"
    host.rm("theirs")
    assert host.branches == ["main", "theirs"]  # it is pushed, and not merged

    host.new("look", "--base", "origin/theirs", "--no-branch")
    assert host.listed["look"]["branch"] == ""
    assert (host.trees / "look" / ".env").exists()
    host.rm("look")

    for words in (("--base", "pull/7/head"), ("--base", git(upstream, "rev-parse", "refs/pull/7/head"))):
        answer = host.main.inv("worktree.new", "pr", *words)
        assert "not in a branch of yours" in answer.err
        assert {path.name for path in (host.trees / "pr").iterdir()} == {
            *(".git", ".gitignore", "invoke.yaml", "tasks.py", "theirs")
        }
        assert host.listed["pr"]["notes"] == {"untrusted": ""}
        assert host.listed["pr"]["instance"] is None
        assert host.branches == ["main", "theirs"]
        host.rm("pr")
    host.new("pr", "--base", "refs/pull/7/head", "--trust")
    assert (host.trees / "pr" / ".env").exists()
    assert host.listed["pr"]["branch"] == "pr"


def test_a_pull_requests_own_git_hooks_do_not_run(host: Repository, upstream: Path) -> None:
    host.git("config", "core.hooksPath", ".husky")
    ran = host.directory / "ran"
    host.git("checkout", "--quiet", "--detach", "main")
    (host.main.path / ".husky").mkdir()
    (host.main.path / ".husky" / "post-checkout").write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    (host.main.path / ".husky" / "post-checkout").chmod(0o755)
    host.git("add", ".husky")
    host.git("commit", "--quiet", "--message=hook")
    host.git("push", "--quiet", "origin", "HEAD:refs/pull/8/head")
    host.git("checkout", "--quiet", "main")
    ran.unlink(missing_ok=True)
    host.new("pr", "--base", "pull/8")
    assert (host.trees / "pr" / ".husky" / "post-checkout").exists()
    assert not ran.exists()


def test_ignored_files_that_are_named(host: Repository) -> None:
    main = host.main.path
    (main / ".gitignore").write_text(".env*\nconfig/secret\n*.big\nlogs/\n.dev-data/\n.dev-pids/\nouter\n")
    (main / ".worktreeinclude").write_text("config/secret\ntasks.py\nouter/\n")
    (main / "config").mkdir()
    commit(main, "config/plain")
    host.git("add", "--all")
    host.git("commit", "--quiet", "--message=ignore")
    host.configure(host.main, worktree={"copy": [".env.local"]})
    for name in (".env.local", "config/secret", "a.big"):
        (main / name).write_text(name)
    (main / "outer").symlink_to(host.directory)
    (main / "config" / "secret").chmod(0o600)
    host.new("one", "--base", "main")
    path = host.trees / "one"
    assert (path / ".env.local").read_text() == ".env.local"
    assert (path / "config" / "secret").stat().st_mode & 0o777 == 0o600
    assert not (path / "a.big").exists()
    assert (path / "outer").is_symlink() or not (path / "outer").exists()


def test_hooks(host: Repository) -> None:
    told = host.directory / "told"
    say = ["sh", "-c", f'echo "$0 $PWD $AI_INSTANCE_ID" >> {told}']
    host.configure(
        host.main,
        hooks={
            "worktree_new": [
                {"name": "first", "command": [*say, "first"]},
                {"name": "next", "command": [*say, "next"]},
            ],
            "worktree_rm": [{"name": "away", "command": [*say, "away"]}],
        },
    )
    host.main.inv("worktree.new", "one", "--no-start", AI_INSTANCE_ID="0", AI_INSTANCE_ROOT=str(host.main.path))
    number, path = host.listed["one"]["instance"]["id"], host.trees / "one"
    assert number != 0
    host.rm("one")
    assert told.read_text().splitlines() == [f"{name} {path} {number}" for name in ("first", "next", "away")]


def test_a_hook_that_fails_half_way(host: Repository) -> None:
    half = ["sh", "-c", "touch node_modules; echo no network >&2; exit 3"]
    commit(host.main.path, ".gitignore", "node_modules\n.env\n.dev-data/\n.dev-pids/\nlogs/\n")
    host.configure(host.main, hooks={"worktree_new": [{"name": "install", "command": half}]})
    answer = host.new("one", code=1)
    assert "hook install" in complaint(answer)
    assert "no network" in answer.err
    assert "is removed again" in answer.err
    assert not (host.trees / "one").exists()
    assert host.branches == ["main"]
    assert list(host.listed) == ["orienter"]
    assert host.main.inv("instances", "--json").json["instances"] == []

    (host.main.path / "invoke.yaml").write_text(
        (host.main.path / "invoke.yaml").read_text().replace("node_modules", "work")
    )
    answer = host.new("one", code=1)
    assert "stays, although it is not complete: 1 untracked file (work)" in answer.err
    assert (host.trees / "one" / "work").exists()
    assert host.listed["one"]["notes"] == {}


def test_a_hook_that_fails_removes_nothing(host: Repository) -> None:
    host.new("one")
    host.configure(host.main, hooks={"worktree_rm": [{"name": "away", "command": ["false"]}]})
    assert "hook away" in complaint(host.rm("one", code=1))
    assert (host.trees / "one" / ".env").exists()
    assert host.listed["one"]["instance"]["id"]
    host.rm("one", "--force")
    assert not (host.trees / "one").exists()


def test_the_main_checkout_and_what_is_not_there(host: Repository) -> None:
    assert "the main checkout" in complaint(host.rm("main", "--force", code=2))
    assert "no worktree is named 'none'" in complaint(host.rm("none", code=3))
    for word in ("-f", "--", "", "..", "a..b", "a b", "a\nb", "HEAD", "x.lock", "-", "a~1", "/abs", "a/"):
        assert host.main.inv("worktree.new", word, code=None).code != 0
        assert host.main.inv("worktree.rm", word, code=None).code != 0
    assert host.is_as_at_first()


@pytest.mark.parametrize("name", ["ä'\"$(touch${IFS}x);&|<>`!#%{}=,+@é☃", "refs/heads/x"])
def test_odd_names(host: Repository, name: str) -> None:
    host.new(name)
    assert git(host.trees / name.replace("/", "-"), "branch", "--show-current") == name
    host.rm(name)
    assert host.branches == ["main"]
    assert not [*host.trees.iterdir()]


def test_a_path_that_exists_and_one_of_its_own(host: Repository) -> None:
    (host.trees / "one").mkdir(parents=True)
    assert "exists already" in complaint(host.new("one", code=4))
    assert (host.trees / "one").is_dir()
    (host.trees / "dangling").symlink_to("nowhere")
    assert "exists already" in complaint(host.new("dangling", code=4))
    assert host.branches == ["main"]
    host.new("one", "--path", "../elsewhere/it's here")
    path = host.main.path.parent / "elsewhere" / "it's here"
    assert host.listed[path.name]["branch"] == "one"
    assert "no worktree" in complaint(host.rm("it", code=3))
    host.rm(str(path))
    assert not path.exists()


@pytest.mark.root
def test_what_is_mounted_in_it_is_not_entered(host: Repository) -> None:
    host.new("one")
    tree = host.trees / "one"
    (tree / "disk").mkdir()
    commit(host.main.path, ".gitignore", "disk\n.env\n.dev-data/\n.dev-pids/\nlogs/\n")
    git(tree, "merge", "--quiet", "main")
    for mount in (f"mount -t tmpfs tmpfs '{tree}/disk'", f"mount --bind '{host.directory}' '{tree}/disk'"):
        script = (
            f"{mount} || exit 77; touch '{tree}/disk/precious'; inv worktree.rm one --force --yes; "
            f"code=$?; test -e '{tree}/disk/precious' && exit $code"
        )
        answer = run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], host.main)
        if answer.code == 77:
            pytest.skip("root may not mount here")
        assert f"something is mounted at {tree}/disk → unmount it: umount {tree}/disk" in complaint(answer)
        assert answer.code == 4
    assert (tree / ".env").exists()
    host.rm("one")
    assert not tree.exists()
    assert (host.directory / "precious").exists()


def test_two_at_once(host: Repository) -> None:
    runs = [host.main.start("worktree.new", "one", "--no-start") for _ in range(2)]
    ends = [(run.communicate(timeout=60), run.returncode) for run in runs]
    assert sorted(code for _, code in ends) == [0, 4], ends
    assert (host.trees / "one" / ".env").exists()
    host.rm("one")
    assert host.branches == ["main"]


def test_dry(host: Repository) -> None:
    assert (
        host.main.inv("--dry", "worktree.new", "one").out == f"would make a worktree of main at {host.trees / 'one'}\n"
    )
    assert host.is_as_at_first()
    host.new("one")
    told = host.main.inv("--dry", "worktree.rm", "one").out
    assert told == f"would remove {host.trees / 'one'}; branch one, which is merged\n"
    assert (host.trees / "one").exists()


def test_work_is_refused_and_lost_only_with_force(host: Repository) -> None:
    host.new("one")
    tree = host.trees / "one"
    commit(tree, "work")
    (tree / "tasks.py").write_text(TASKS + "\n")
    answer = host.main.inv("worktree.rm", "one", code=4, cwd=tree)
    told = complaint(answer)
    for word in ("1 changed file (tasks.py)", "it is the current directory", "1 commit neither pushed nor merged"):
        assert word in told
    assert told.endswith("inv worktree.rm one --force")
    assert (tree / ".env").exists()
    Checkout(tree, host.environ).inv("worktree.rm", ".", "--force")
    assert not tree.exists()
    assert host.branches == ["main", "one"]  # the commit is still there
    host.new("one")
    (tree / "tasks.py").write_text(TASKS + "\n")
    git(tree, "stash")
    host.git("merge", "--quiet", "one")
    host.rm("one")
    assert "WIP on one" in git(host.main.path, "stash", "list")
    assert host.branches == ["main"]


def waiting_hook(flag: Path) -> list[dict[str, Any]]:
    return [{"name": "wait", "command": ["sh", "-c", f"touch '{flag}'; exec sleep 60"]}]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_ended_in_a_hook(host: Repository, tmp_path: Path, number: int) -> None:
    flag = tmp_path / "flag"
    host.configure(host.main, hooks={"worktree_new": waiting_hook(flag)})
    with Running(host.main, tmp_path, "worktree.new", "one", "--no-start") as run:
        wait_for(flag.exists, "the hook")
        assert "in progress" in host.listed["one"]["notes"]
        host.main.inv("worktree.rm", "none", code=3, ORIENTER_STATE_DIR=str(tmp_path / "a container's"))
        assert "in progress" in host.listed["one"]["notes"]  # it has left this alone
        run.send(number)
        run.process.wait(30)
    host.configure(host.main, hooks={"worktree_new": []})
    if number == signal.SIGKILL:
        assert "unfinished" in host.listed["one"]["notes"]
        host.new("two")
        host.rm("two")
    else:
        assert run.end().code == 130
        assert "is removed again" in run.err
    assert not processes_of(Checkout(host.trees / "one", host.environ))
    assert [*host.trees.iterdir()] == []
    assert list(host.listed) == ["orienter"]
    assert host.branches == ["main"]


def test_killed_while_git_makes_it(host: Repository, tmp_path: Path) -> None:
    """Git goes on alone; the next run waits for its end."""
    flag, hook = tmp_path / "flag", host.main.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{flag}'; sleep 2\n")
    hook.chmod(0o755)
    with Running(host.main, tmp_path, "worktree.new", "one", "--no-start") as run:
        wait_for(flag.exists, "git")
        run.send(signal.SIGKILL)
        run.process.wait(30)
    hook.unlink()
    host.new("one")
    assert (host.trees / "one" / ".env").exists()
    assert host.listed["one"]["notes"] == {}


@pytest.mark.parametrize("how", ["begun", "half", "removed"])
def test_killed_while_it_is_removed(host: Repository, how: str) -> None:
    host.new("one")
    path, common = host.trees / "one", host.main.path / ".git"
    head = git(path, "rev-parse", "HEAD")
    unfinished.begin(common, unfinished.UnfinishedWorktree(str(path), head, "one", path.stat().st_ino, time.time()))
    if how == "half":
        (path / ".git").unlink()
        (path / "tasks.py").unlink()
    elif how == "removed":
        host.git("worktree", "remove", "--force", str(path))
    assert "an earlier run had not finished" in host.rm("one").err
    assert not path.exists()
    assert host.branches == ["main"]
    assert [*(common / "worktrees").glob("*")] == [*(common / "orienter" / "unfinished").glob("*")] == []


def test_what_came_where_a_killed_run_removed_something_stays(host: Repository) -> None:
    host.new("one")
    path, common = host.trees / "one", host.main.path / ".git"
    head = git(path, "rev-parse", "HEAD")
    since = time.time()
    shutil.rmtree(path)
    time.sleep(0.05)  # more than a tick of the clock that file systems read
    path.mkdir()
    (path / "precious").touch()
    # some file systems give a new directory the inode of a removed one
    unfinished.begin(common, unfinished.UnfinishedWorktree(str(path), head, "one", path.stat().st_ino, since))
    host.rm("one")
    assert (path / "precious").exists()
    assert list(host.listed) == ["orienter"]


def test_a_directory_that_is_gone(host: Repository) -> None:
    host.new("one")
    os.rename(host.trees / "one", host.directory / "away")  # noqa: PTH104
    assert "missing" in host.listed["one"]["notes"]
    assert "hint: remove it: inv worktree.rm one" in host.new("other", "--path", str(host.trees / "one"), code=4).err
    host.rm("one")
    assert list(host.listed) == ["orienter"]
    assert json.loads(host.main.inv("instances", "--json").out)["instances"] == []


def test_a_stale_registration(host: Repository) -> None:
    host.new("one")
    os.rename(host.trees / "one", host.directory / "away")  # noqa: PTH104
    other = make_repository(host.trees / "one", {"precious": ""})
    assert "stale" in host.listed["one"]["notes"]
    for words in ((), ("--force",)):
        assert "is not a worktree of" in complaint(host.rm("one", *words, code=4))
    assert (other / "precious").exists()
