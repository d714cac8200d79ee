"""The tasks, run by the real `inv` in real worktrees: refusals, questions, exit codes, and what is left afterwards."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orienter_tasks import ns
from orienter_tasks.identity.claims import Claims
from orienter_tasks.machine.state import locked
from tests.commands.cleanup.conftest import PROJECT
from tests.commands.cleanup.engines import RealLab, labels
from tests.commands.cleanup.worlds import age, claim_of, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orienter_tasks.identity.claims import Claim
    from tests.conftest import MakeRepo, MakeWorktree

REPOSITORY = Path(__file__).resolve().parents[3]
NO_ENGINE = "unix:///nonexistent/docker.sock"
TASKS = ["daily", "weekly", "orphans", "logs", "instance", "all"]


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    def kinds(self, key: str) -> list[str]:
        return sorted({f"{entry['kind']} {entry['instance']}" for entry in self.json[key]})


@dataclass
class Host:
    """A host with worktrees: 1 exists, 2 was deleted, 3 moved, 4 is locked and away; each left files and logs."""

    main: Path
    trees: dict[int, Path]
    state: Path
    claims: dict[int, Claim]

    def start(self, *words: str, engine: str = NO_ENGINE, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DOCKER_HOST": engine, "LC_ALL": "C.UTF-8"}
        if not engine:
            del environ["DOCKER_HOST"]
        command = [sys.executable, "-m", "invoke", *words]
        return subprocess.Popen(
            command, cwd=self.main, env=environ, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def inv(self, *words: str, code: int | None = 0, engine: str = NO_ENGINE) -> Answer:
        with self.start(*words, engine=engine) as process:
            out, err = process.communicate(timeout=60)
        answer = Answer(process.returncode, out, err)
        assert "Traceback" not in err, answer
        assert code in (None, answer.code), answer
        return answer

    def typed(self, text: str, *words: str) -> Answer:
        """Run `inv` at a terminal and answer its question."""
        mine, its = pty.openpty()
        try:
            with self.start(*words, stdin=its) as process:
                os.write(mine, text.encode() + b"\n")
                out, err = process.communicate(timeout=60)
        finally:
            os.close(mine)
            os.close(its)
        assert "Traceback" not in err
        return Answer(process.returncode, out, err)

    def everything(self) -> dict[str, Any]:
        return snapshot(self.main.parent, self.state)


@pytest.fixture
def host(tmp_path: Path, isolated: Path, make_repo: MakeRepo, make_worktree: MakeWorktree) -> Host:
    main = make_repo(under=tmp_path / "home")
    (main / "tasks.py").write_text("from orienter_tasks import ns\n\n__all__ = ['ns']\n")
    settings = {"project": PROJECT, "timeouts": {"lock": 0.5, "stop": 0.5}}
    (main / "invoke.yaml").write_text(json.dumps({"orienter": settings}))
    trees = {
        number: make_worktree(main, f"tree-{number}", under=tmp_path / "home" / "trees") for number in (1, 2, 3, 4)
    }
    claims = {number: claim_of(root, number, project=PROJECT, backend="embedded") for number, root in trees.items()}
    claims[0] = claim_of(main, 0, project=PROJECT, backend="embedded")
    for number, root in {**trees, 0: main}.items():
        logs = root / "logs" / f"instance-{number}"
        logs.mkdir(parents=True)
        (logs / "old.log").write_text("old\n")
        age(logs / "old.log")
        (logs / "new.log").write_text("new\n")
    with Claims(isolated).changing() as book:
        book.extend(claims.values())
    shutil.rmtree(trees[2])
    trees[3].rename(trees[3].with_name("renamed"))
    (Path(claims[4].git_dir) / "locked").write_text("on a stick\n")
    shutil.rmtree(trees[4])
    return Host(main, trees, isolated, claims)


def ids(host: Host) -> list[int]:
    return [claim.id for claim in Claims(host.state).read()]


@pytest.mark.parametrize("task", ["daily", "weekly", "orphans", "logs", "instance 1", "instance 0", "all"])
def test_a_dry_run_changes_nothing_byte_for_byte(host: Host, task: str) -> None:
    before = host.everything()
    answer = host.inv(*f"cleanup.{task}".split(), "--dry-run", "--json")
    assert host.everything() == before
    document = answer.json
    assert (document["schema_version"], document["dry_run"], document["project"]) == (1, True, PROJECT)
    assert all(entry["reason"] for entry in (*document["goes"], *document["stays"]))


def test_people_read_the_same_plan(host: Host) -> None:
    before = host.everything()
    text = host.inv("cleanup.all", "--dry-run")
    assert host.everything() == before
    document = host.inv("cleanup.all", "--dry-run", "--json").json
    for entry in document["goes"]:
        assert entry["name"] in text.out
        assert entry["reason"] in text.out
    assert f"is a main checkout: {host.main}" in text.err


def test_a_dry_run_makes_no_state_directory(host: Host) -> None:
    shutil.rmtree(host.state)
    assert host.inv("cleanup.all", "--dry-run", "--json").json["goes"] == []
    assert not host.state.exists()


@pytest.mark.parametrize("task", ["weekly", "logs", "instance 1", "all"])
def test_a_pipe_without_yes_is_refused(host: Host, task: str) -> None:
    before = host.everything()
    answer = host.inv(*f"cleanup.{task}".split(), code=2)
    assert "--yes" in answer.err
    after = host.everything()
    assert {path: after[path] for path in before} == before
    assert all("/locks" in path for path in set(after) - set(before))


def test_json_cannot_ask(host: Host) -> None:
    answer = host.typed("y", "cleanup.weekly", "--json")
    assert (answer.code, answer.out) == (2, "")
    assert ids(host) == [0, 1, 2, 3, 4]


def test_weekly_does_what_it_said_and_nothing_more(host: Host) -> None:
    before = host.everything()
    planned = host.inv("cleanup.weekly", "--dry-run", "--json")
    assert planned.kinds("goes") == ["claim 2", "log 0", "log 1"]
    answer = host.inv("cleanup.weekly", "--yes", "--json")
    assert answer.kinds("gone") == planned.kinds("goes")
    assert answer.json["left"] == []
    assert ids(host) == [0, 1, 3, 4]
    after = host.everything()
    changed = {path for path in before if after.get(path) != before[path] and "/state" not in path}
    assert changed == {
        str(root / "logs" / f"instance-{number}" / "old.log") for number, root in ((0, host.main), (1, host.trees[1]))
    }
    assert host.inv("cleanup.weekly", "--yes", "--json").json["goes"] == []


def test_reasons_name_what_became_of_each(host: Host) -> None:
    document = host.inv("cleanup.weekly", "--dry-run", "--json").json
    reasons = {entry["instance"]: entry["reason"] for entry in document["stays"] if entry["kind"] == "claim"}
    assert "exists" in reasons[0]
    assert "exists" in reasons[1]
    assert "moved to" in reasons[3]
    assert "lock" in reasons[4]


def test_daily_without_anything_to_do(host: Host) -> None:
    answer = host.inv("cleanup.daily")
    assert "nothing" in answer.err
    assert ids(host) == [0, 1, 2, 3, 4]


class TestInstance:
    @pytest.mark.parametrize("word", ["--help", "57", "-7", "cleanup.all"])
    def test_what_is_no_id(self, host: Host, word: str) -> None:
        before = host.everything()
        answer = host.inv("cleanup.instance", word, "--yes", code=2)
        assert "invalid instance id" in answer.err
        assert host.everything() == before

    @pytest.mark.parametrize("words", [[], ["--yes", "--json"]])
    def test_no_id_at_all(self, host: Host, words: Sequence[str]) -> None:
        before = host.everything()
        answer = host.inv("cleanup.instance", *words, code=None)
        assert answer.code != 0
        assert "positional" in answer.err
        assert host.everything() == before

    def test_one_that_does_not_exist(self, host: Host) -> None:
        assert f"{PROJECT} has no instance 7" in host.inv("cleanup.instance", "7", "--yes", code=3).err
        assert ids(host) == [0, 1, 2, 3, 4]

    def test_the_main_checkout(self, host: Host) -> None:
        before = snapshot(host.trees[1])
        answer = host.inv("cleanup.instance", "0", "--yes")
        assert f"is a main checkout: {host.main}" in answer.err
        assert ids(host) == [1, 2, 3, 4]
        assert list(host.main.rglob("instance-0")) == []
        assert (host.main / "invoke.yaml").exists()
        assert snapshot(host.trees[1]) == before

    def test_flags_on_either_side(self, host: Host) -> None:
        assert host.inv("cleanup.instance", "--yes", "--json", "1").json["instance"] == 1
        assert host.inv("cleanup.instance", "2", "--yes", "--json").json["instance"] == 2
        assert ids(host) == [0, 3, 4]

    def test_one_that_was_moved_or_is_locked_goes_by_name(self, host: Host) -> None:
        assert "was moved to" in host.inv("cleanup.instance", "3", "--yes").err
        assert "lock" in host.inv("cleanup.instance", "4", "--yes").err
        assert ids(host) == [0, 1, 2]
        assert list(host.trees[3].with_name("renamed").rglob("instance-3")) == []


class TestQuestion:
    def test_no(self, host: Host) -> None:
        for answer in ("", "yes please"):
            assert host.typed(answer, "cleanup.weekly").code == 2
        assert ids(host) == [0, 1, 2, 3, 4]

    def test_yes(self, host: Host) -> None:
        answer = host.typed("y", "cleanup.weekly")
        assert answer.code == 0, answer
        assert "[y/N]" in answer.err
        assert ids(host) == [0, 1, 3, 4]

    def test_everything_goes_for_the_projects_name_only(self, host: Host) -> None:
        for wrong in ("y", PROJECT[:-1]):
            assert host.typed(wrong, "cleanup.all").code == 2
        assert ids(host) == [0, 1, 2, 3, 4]
        assert host.typed(PROJECT, "cleanup.all").code == 0
        assert ids(host) == []
        assert list(host.main.parent.rglob("instance-?")) == []
        assert (host.trees[1] / "README").exists()


NEWER = '{"schema_version": 2, "claims": []}'


@pytest.mark.parametrize(
    ("task", "content"),
    [*((task, NEWER) for task in TASKS), ("weekly", "{"), ("all", '{"schema_version": 1, "claims": 3}')],
)
def test_a_claims_file_that_is_not_ours_to_read_is_left_alone(host: Host, task: str, content: str) -> None:
    (host.state / "claims.json").write_text(content)
    before = host.everything()
    words = ["1"] if task == "instance" else []
    answer = host.inv(f"cleanup.{task}", *words, "--yes", code=2)
    assert "claims" in answer.err
    after = host.everything()
    assert {path: after[path] for path in before} == before


def test_two_at_once(host: Host) -> None:
    settings = {"project": PROJECT, "timeouts": {"lock": 30.0, "stop": 0.5}}
    (host.main / "invoke.yaml").write_text(json.dumps({"orienter": settings}))
    both = [host.start("cleanup.weekly", "--yes", "--json") for _ in range(2)]
    answers = []
    for process in both:
        with process:
            out, err = process.communicate(timeout=60)
            answers.append(Answer(process.returncode, out, err))
    assert [answer.code for answer in answers] == [0, 0], answers
    assert sorted(len(answer.json["gone"]) for answer in answers) == [0, 3]


def test_another_that_does_not_end_is_named(host: Host) -> None:
    with locked("cleanup", timeout=1.0):
        answer = host.inv("cleanup.weekly", "--yes", code=4)
        assert f"pid {os.getpid()}" in answer.err
        host.inv("cleanup.weekly", "--dry-run")
    assert ids(host) == [0, 1, 2, 3, 4]


def test_it_claims_nothing_for_the_checkout_it_runs_in(host: Host) -> None:
    Claims(host.state).release(host.claims[0].token)
    host.inv("cleanup.weekly", "--yes")
    assert 0 not in ids(host)


def test_an_engine_that_is_down_is_said(host: Host) -> None:
    Claims(host.state).update(host.claims[2].token, backend="docker")
    dry = host.inv("cleanup.weekly", "--dry-run")
    assert "not seen: containers" in dry.err
    answer = host.inv("cleanup.weekly", "--yes", code=5)
    assert "nonexistent/docker.sock" in answer.err
    assert ids(host) == [0, 1, 2, 3, 4]
    assert (host.trees[1] / "logs" / "instance-1" / "old.log").read_text() == ""


@pytest.fixture
def orphan(host: Host) -> Iterator[subprocess.Popen[bytes]]:
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
def test_a_process_whose_worktree_was_deleted(host: Host, orphan: subprocess.Popen[bytes], task: str) -> None:
    time.sleep(0.1)
    planned = host.inv(f"cleanup.{task}", "--dry-run", "--json")
    assert "process 2" in planned.kinds("goes")
    assert orphan.poll() is None
    host.inv(f"cleanup.{task}", "--yes")
    assert orphan.wait(timeout=5) is not None
    assert (2 in ids(host)) is (task != "weekly")


@pytest.mark.docker
def test_a_volume_in_use_ends_in_a_report(host: Host) -> None:
    Claims(host.state).update(host.claims[2].token, backend="docker")
    lab = RealLab()
    volume = f"{PROJECT}-minio-data-2"
    try:
        lab.volume(volume, labels(PROJECT, 2, host.claims[2].root, "minio"))
        lab.container(f"{PROJECT}-debugging", {}, volume=volume)
        answer = host.inv("cleanup.weekly", "--yes", code=1, engine=os.environ.get("DOCKER_HOST", ""))
        assert f"in use by {PROJECT}-debugging" in answer.err
        assert f"volume {volume}" in answer.err
        assert volume in lab.there("volume")
        assert 2 in ids(host)
        lab.engine.api.remove_container(f"{PROJECT}-debugging", force=True)
        document = host.inv("cleanup.weekly", "--yes", "--json", engine=os.environ.get("DOCKER_HOST", "")).json
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
    assert set(arguments) == {"dry_run", "yes", "json", *(["id"] if task == "instance" else [])}
    assert all(argument.help for argument in arguments.values())
    assert all(argument.default is False for name, argument in arguments.items() if name != "id")
