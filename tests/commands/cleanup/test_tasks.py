"""The tasks, run by the real `inv` in real worktrees: refusals, questions, exit codes, and what is left afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks import ns
from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine.state import locked
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.engines import RealLab, labels
from tests.commands.cleanup.worlds import age, claim_of, snapshot
from tests.integration.checkouts import Answer, Host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


SETTINGS = {"project": PROJECT, "timeouts": {"lock": 0.5, "stop": 0.5}}
NO_ENGINE = "unix:///nonexistent/docker.sock"
TASKS = ["daily", "weekly", "orphans", "logs", "instance", "all"]


class WornHost(Host):
    """A host with worktrees: 1 exists, 2 was deleted, 3 moved, 4 is locked and away; each left files and logs."""

    def __init__(self, directory: Path, state: Path) -> None:
        files = {"README": "a test\n"}
        super().__init__(directory, "", SETTINGS, files, main="repo", environ={"DOCKER_HOST": NO_ENGINE})
        self.state = state
        self.root = self.main.path.resolve()
        self.trees = {
            number: self.worktree(directory / "trees" / f"tree-{number}").path.resolve() for number in (1, 2, 3, 4)
        }
        roots = {**self.trees, 0: self.root}
        self.claims = {
            number: claim_of(root, number, project=PROJECT, backend="embedded") for number, root in roots.items()
        }
        for number, root in roots.items():
            logs = root / "logs" / f"instance-{number}"
            logs.mkdir(parents=True)
            (logs / "old.log").write_text("old\n")
            age(logs / "old.log")
            (logs / "new.log").write_text("new\n")
        with Claims(state).changing() as book:
            book.extend(self.claims.values())
        shutil.rmtree(self.trees[2])
        self.trees[3].rename(self.trees[3].with_name("renamed"))
        (Path(self.claims[4].git_dir) / "locked").write_text("on a stick\n")
        shutil.rmtree(self.trees[4])

    def everything(self) -> dict[str, Any]:
        return snapshot(self.directory, self.state)


@pytest.fixture
def host(tmp_path: Path, isolated: Path) -> WornHost:
    return WornHost(tmp_path / "home", isolated)


def kinds(answer: Answer, key: str) -> list[str]:
    return sorted({f"{entry['kind']} {entry['instance']}" for entry in answer.json[key]})


def ids(host: WornHost) -> list[int]:
    return [claim.id for claim in Claims(host.state).read()]


@pytest.mark.parametrize("task", ["daily", "weekly", "orphans", "logs", "instance 1", "instance 0", "all"])
def test_a_dry_run_changes_nothing_byte_for_byte(host: WornHost, task: str) -> None:
    before = host.everything()
    answer = host.main.inv(*f"cleanup.{task}".split(), "--dry-run", "--json")
    assert host.everything() == before
    document = answer.json
    assert (document["schema_version"], document["dry_run"], document["project"]) == (1, True, PROJECT)
    assert all(entry["reason"] for entry in (*document["goes"], *document["stays"]))


def test_people_read_the_same_plan(host: WornHost) -> None:
    before = host.everything()
    text = host.main.inv("cleanup.all", "--dry-run")
    assert host.everything() == before
    document = host.main.inv("cleanup.all", "--dry-run", "--json").json
    for entry in document["goes"]:
        assert entry["name"] in text.out
        assert entry["reason"] in text.out
    assert f"is a main checkout: {host.root}" in text.err


def test_a_dry_run_makes_no_state_directory(host: WornHost) -> None:
    shutil.rmtree(host.state)
    assert host.main.inv("cleanup.all", "--dry-run", "--json").json["goes"] == []
    assert not host.state.exists()


@pytest.mark.parametrize("task", ["weekly", "logs", "instance 1", "all"])
def test_a_pipe_without_yes_is_refused(host: WornHost, task: str) -> None:
    before = host.everything()
    answer = host.main.inv(*f"cleanup.{task}".split(), code=2)
    assert "--yes" in answer.err
    after = host.everything()
    assert {path: after[path] for path in before} == before
    assert all("/locks" in path for path in set(after) - set(before))


def test_json_cannot_ask(host: WornHost) -> None:
    answer = host.main.typed("y", "cleanup.weekly", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert ids(host) == [0, 1, 2, 3, 4]


def test_weekly_does_what_it_said_and_nothing_more(host: WornHost) -> None:
    before = host.everything()
    planned = host.main.inv("cleanup.weekly", "--dry-run", "--json")
    assert kinds(planned, "goes") == ["claim 2", "log 0", "log 1"]
    answer = host.main.inv("cleanup.weekly", "--yes", "--json")
    assert kinds(answer, "gone") == kinds(planned, "goes")
    assert answer.json["left"] == []
    assert ids(host) == [0, 1, 3, 4]
    after = host.everything()
    changed = {path for path in before if after.get(path) != before[path] and "/state" not in path}
    assert changed == {
        str(root / "logs" / f"instance-{number}" / "old.log") for number, root in ((0, host.root), (1, host.trees[1]))
    }
    assert host.main.inv("cleanup.weekly", "--yes", "--json").json["goes"] == []


def test_reasons_name_what_became_of_each(host: WornHost) -> None:
    document = host.main.inv("cleanup.weekly", "--dry-run", "--json").json
    reasons = {entry["instance"]: entry["reason"] for entry in document["stays"] if entry["kind"] == "claim"}
    assert "exists" in reasons[0]
    assert "exists" in reasons[1]
    assert "moved to" in reasons[3]
    assert "lock" in reasons[4]


def test_daily_without_anything_to_do(host: WornHost) -> None:
    answer = host.main.inv("cleanup.daily")
    assert "nothing" in answer.err
    assert ids(host) == [0, 1, 2, 3, 4]


class TestInstance:
    @pytest.mark.parametrize("word", ["--help", "57", "-7", "cleanup.all"])
    def test_what_is_no_id(self, host: WornHost, word: str) -> None:
        before = host.everything()
        answer = host.main.inv("cleanup.instance", word, "--yes", code=2)
        assert "invalid instance id" in answer.err
        assert host.everything() == before

    @pytest.mark.parametrize("words", [[], ["--yes", "--json"]])
    def test_no_id_at_all(self, host: WornHost, words: Sequence[str]) -> None:
        before = host.everything()
        answer = host.main.inv("cleanup.instance", *words, code=None)
        assert answer.code != 0
        assert "positional" in answer.err
        assert host.everything() == before

    def test_one_that_does_not_exist(self, host: WornHost) -> None:
        assert f"{PROJECT} has no instance 7" in host.main.inv("cleanup.instance", "7", "--yes", code=3).err
        assert ids(host) == [0, 1, 2, 3, 4]

    def test_the_main_checkout(self, host: WornHost) -> None:
        before = snapshot(host.trees[1])
        answer = host.main.inv("cleanup.instance", "0", "--yes")
        assert f"is a main checkout: {host.root}" in answer.err
        assert ids(host) == [1, 2, 3, 4]
        assert list(host.root.rglob("instance-0")) == []
        assert (host.root / "invoke.yaml").exists()
        assert snapshot(host.trees[1]) == before

    def test_flags_on_either_side(self, host: WornHost) -> None:
        assert host.main.inv("cleanup.instance", "--yes", "--json", "1").json["instance"] == 1
        assert host.main.inv("cleanup.instance", "2", "--yes", "--json").json["instance"] == 2
        assert ids(host) == [0, 3, 4]

    def test_one_that_was_moved_or_is_locked_goes_by_name(self, host: WornHost) -> None:
        assert "was moved to" in host.main.inv("cleanup.instance", "3", "--yes").err
        assert "lock" in host.main.inv("cleanup.instance", "4", "--yes").err
        assert ids(host) == [0, 1, 2]
        assert list(host.trees[3].with_name("renamed").rglob("instance-3")) == []


class TestQuestion:
    def test_no(self, host: WornHost) -> None:
        for answer in ("", "yes please"):
            assert host.main.typed(answer, "cleanup.weekly").code == 2
        assert ids(host) == [0, 1, 2, 3, 4]

    def test_yes(self, host: WornHost) -> None:
        answer = host.main.typed("y", "cleanup.weekly")
        assert answer.code == 0, answer
        assert "[y/N]" in answer.err
        assert ids(host) == [0, 1, 3, 4]

    def test_everything_goes_for_the_projects_name_only(self, host: WornHost) -> None:
        for wrong in ("y", PROJECT[:-1]):
            assert host.main.typed(wrong, "cleanup.all").code == 2
        assert ids(host) == [0, 1, 2, 3, 4]
        assert host.main.typed(PROJECT, "cleanup.all").code == 0
        assert ids(host) == []
        assert list(host.directory.rglob("instance-?")) == []
        assert (host.trees[1] / "README").exists()


NEWER = '{"schema_version": 2, "claims": []}'


@pytest.mark.parametrize(
    ("task", "content"),
    [*((task, NEWER) for task in TASKS), ("weekly", "{"), ("all", '{"schema_version": 1, "claims": 3}')],
)
def test_a_claims_file_that_is_not_ours_to_read_is_left_alone(host: WornHost, task: str, content: str) -> None:
    (host.state / "claims.json").write_text(content)
    before = host.everything()
    words = ["1"] if task == "instance" else []
    answer = host.main.inv(f"cleanup.{task}", *words, "--yes", code=2)
    assert "claims" in answer.err
    after = host.everything()
    assert {path: after[path] for path in before} == before


def test_two_at_once(host: WornHost) -> None:
    host.configure(host.main, timeouts={"lock": 30.0})
    both = [host.main.start("cleanup.weekly", "--yes", "--json") for _ in range(2)]
    answers = []
    for process in both:
        with process:
            out, err = process.communicate(timeout=60)
            answers.append(Answer(process.returncode, out, err))
    assert [answer.code for answer in answers] == [0, 0], answers
    assert sorted(len(answer.json["gone"]) for answer in answers) == [0, 3]


def test_another_that_does_not_end_is_named(host: WornHost) -> None:
    with locked("cleanup", timeout=1.0):
        answer = host.main.inv("cleanup.weekly", "--yes", code=4)
        assert f"pid {os.getpid()}" in answer.err
        host.main.inv("cleanup.weekly", "--dry-run")
    assert ids(host) == [0, 1, 2, 3, 4]


def test_it_claims_nothing_for_the_checkout_it_runs_in(host: WornHost) -> None:
    Claims(host.state).release(host.claims[0].token)
    host.main.inv("cleanup.weekly", "--yes")
    assert 0 not in ids(host)


def test_an_engine_that_is_down_is_said(host: WornHost) -> None:
    Claims(host.state).update(host.claims[2].token, placed="docker")
    dry = host.main.inv("cleanup.weekly", "--dry-run")
    assert "not seen: containers" in dry.err
    answer = host.main.inv("cleanup.weekly", "--yes", code=5)
    assert "nonexistent/docker.sock" in answer.err
    assert ids(host) == [0, 1, 2, 3, 4]
    assert (host.trees[1] / "logs" / "instance-1" / "old.log").read_text() == ""


@pytest.fixture
def orphan(host: WornHost) -> Iterator[subprocess.Popen[bytes]]:
    environ = {
        "ORIENTER_COMPONENT": "api",
        "AI_INSTANCE_ID": "2",
        "AI_INSTANCE_ROOT": str(host.trees[2]),
        "COMPOSE_PROJECT_NAME": f"{PROJECT}-instance-2",
    }
    command = [sys.executable, "-c", "import time; time.sleep(120)"]
    process = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("task", ["orphans", "weekly"])
def test_a_process_whose_worktree_was_deleted(host: WornHost, orphan: subprocess.Popen[bytes], task: str) -> None:
    time.sleep(0.1)
    planned = host.main.inv(f"cleanup.{task}", "--dry-run", "--json")
    assert "process 2" in kinds(planned, "goes")
    assert orphan.poll() is None
    host.main.inv(f"cleanup.{task}", "--yes")
    assert orphan.wait(timeout=5) is not None
    assert (2 in ids(host)) is (task != "weekly")


@pytest.mark.docker
def test_a_volume_in_use_ends_in_a_report(host: WornHost) -> None:
    Claims(host.state).update(host.claims[2].token, placed="docker")
    lab = RealLab()
    engine = os.environ.get("DOCKER_HOST", "")
    volume = f"{PROJECT}-minio-data-2"
    try:
        lab.volume(volume, labels(PROJECT, 2, host.claims[2].root, "minio"))
        lab.container(f"{PROJECT}-debugging", {}, volume=volume)
        answer = host.main.inv("cleanup.weekly", "--yes", code=1, DOCKER_HOST=engine)
        assert f"in use by {PROJECT}-debugging" in answer.err
        assert f"volume {volume}" in answer.err
        assert volume in lab.there("volume")
        assert 2 in ids(host)
        lab.engine.api.remove_container(f"{PROJECT}-debugging", force=True)
        document = host.main.inv("cleanup.weekly", "--yes", "--json", DOCKER_HOST=engine).json
        assert [entry["name"] for entry in document["gone"] if entry["kind"] == "volume"] == [volume]
        assert volume not in lab.there("volume")
        assert 2 not in ids(host)
    finally:
        lab.clean()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_and_argument_has_help(task: str) -> None:
    found = ns[f"cleanup.{task}"]
    assert found.__doc__
    arguments = {argument.name: argument for argument in found.get_arguments()}
    own = {"instance": {"id", "snapshots"}, "all": {"snapshots"}}
    assert set(arguments) == {"dry_run", "yes", "json", *own.get(task, ())}
    assert all(argument.help for argument in arguments.values())
    assert all(argument.default is False for name, argument in arguments.items() if name != "id")
