"""Starting a process: its own session, its log, its record; and what is said when it cannot be started."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from orienter_tasks.errors import CheckError, ConfigError, NotFoundError, OrienterError
from orienter_tasks.processes import spawn
from orienter_tasks.processes.record import Record, load, path_of, start_mark
from orienter_tasks.processes.spawn import UNKNOWN_EXIT, Handle, describe_exit, running
from tests.processes.conftest import FOREVER, eventually, lives

if TYPE_CHECKING:
    from tests.processes.conftest import Lab

PRINT_ENVIRON = [sys.executable, "-I", "-S", "-c", "import json, os; print(json.dumps(dict(os.environ)))"]


def ended(handle: Handle) -> int:
    eventually(lambda: handle.exit_code() is not None, "the end")
    code = handle.exit_code()
    assert code is not None
    return code


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_process_leads_a_session_and_group_of_its_own(lab: Lab) -> None:
    handle = lab.spawn("dashboard", FOREVER)
    pid = handle.record.pid
    assert os.getsid(pid) == os.getpgid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path(os.devnull)
    assert handle.exit_code() is None


def test_its_record_names_it(lab: Lab) -> None:
    before = time.time()
    handle = lab.spawn("dashboard", FOREVER, needs=("postgres",), stop_signal=signal.SIGINT, group=False)
    record = load(lab.instance, "dashboard")
    assert record is not None
    assert record == handle.record
    assert record.alive()
    assert record.mark == start_mark(record.pid)
    assert record.command == tuple(FOREVER)
    assert (record.cwd, record.root) == (str(lab.instance.root), str(lab.instance.root))
    assert (record.project, record.instance, record.component) == ("orienter", 3, "dashboard")
    assert (record.stop_signal, record.group, record.needs) == (signal.SIGINT, False, ("postgres",))
    assert before - 1 < record.started_at < time.time() + 1


def test_a_process_that_is_over_at_once_is_recorded_as_it_was(lab: Lab) -> None:
    handle = lab.spawn("dashboard", ["true"])
    assert handle.record.mark
    assert ended(handle) == 0
    assert not handle.record.alive()


def test_it_is_found_again_while_it_runs(lab: Lab) -> None:
    assert running(lab.instance, "dashboard") is None
    handle = lab.spawn("dashboard", FOREVER)
    again = running(lab.instance, "dashboard")
    assert again is not None
    assert (again.record, again.child) == (handle.record, None)
    assert again.exit_code() is None
    assert running(lab.instance, "other") is None
    os.kill(handle.record.pid, signal.SIGKILL)
    eventually(lambda: again.exit_code() is not None)
    assert again.exit_code() == UNKNOWN_EXIT
    assert running(lab.instance, "dashboard") is None


def test_its_environment_is_what_was_said_and_the_markers(lab: Lab) -> None:
    lab.instance = replace(lab.instance, token="own")
    env = {"A": "é $x\n", "ORIENTER_COMPONENT": "inherited", "ORIENTER_TOKEN": "inherited", "PATH": os.environ["PATH"]}
    ended(lab.spawn("dashboard", PRINT_ENVIRON, env=env))
    seen = json.loads((lab.instance.log_dir / "dashboard-dev.log").read_text(encoding="utf-8"))
    seen.pop("LC_CTYPE", None)  # Python's own
    assert seen == {**env, "ORIENTER_COMPONENT": "dashboard", "ORIENTER_TOKEN": "own"}


def test_no_value_of_the_environment_is_in_a_record_or_an_error(lab: Lab) -> None:
    env = lab.environ(SECRET_TOKEN="hunter2-hunter2")
    lab.spawn("dashboard", FOREVER, env=env)
    written = path_of(lab.instance, "dashboard").read_text(encoding="utf-8")
    assert "hunter2" not in written
    assert lab.token not in written
    with pytest.raises(OrienterError) as caught:
        lab.spawn("other", ["/nonexistent"], env=env)
    assert "hunter2" not in caught.value.line()


def test_it_runs_in_its_directory_found_on_its_own_path(lab: Lab, tmp_path: Path) -> None:
    programs, place = tmp_path / "bin", tmp_path / "we ird 'é"
    programs.mkdir()
    place.mkdir()
    (programs / "own-program").write_text("#!/bin/sh\npwd\n", encoding="ascii")
    (programs / "own-program").chmod(0o755)
    handle = lab.spawn("x", ["own-program"], cwd=place, env={"PATH": f"{programs}:{os.environ['PATH']}"})
    assert ended(handle) == 0
    assert (lab.instance.log_dir / "x-dev.log").read_text(encoding="utf-8") == f"{place}\n"


def test_words_reach_it_as_they_are(lab: Lab, tmp_path: Path) -> None:
    words = ["a b", "", "$(touch pwned)", "*", "'\"\\", "é\n"]
    command = [sys.executable, "-I", "-S", "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", *words]
    ended(lab.spawn("x", command))
    assert json.loads((lab.instance.log_dir / "x-dev.log").read_text(encoding="utf-8")) == words
    assert not list(tmp_path.rglob("pwned"))


def test_output_and_errors_go_to_a_private_log(lab: Lab) -> None:
    ended(lab.spawn("dashboard", ["sh", "-c", "echo out; echo err >&2"]))
    log = lab.instance.log_dir / "dashboard-dev.log"
    assert log.read_text(encoding="utf-8") == "out\nerr\n"
    assert mode(log) == 0o600
    assert mode(log.parent) == 0o700
    assert mode(lab.instance.pid_dir) == 0o700


def test_the_previous_log_is_kept_and_only_that(lab: Lab) -> None:
    log = lab.instance.log_dir / "dashboard-dev.log"
    for word in ("first", "second", "third"):
        ended(lab.spawn("dashboard", ["echo", word]))
    assert log.read_text(encoding="utf-8") == "third\n"
    assert log.with_name("dashboard-dev.log.1").read_text(encoding="utf-8") == "second\n"
    assert sorted(path.name for path in log.parent.iterdir()) == ["dashboard-dev.log", "dashboard-dev.log.1"]


def test_what_still_writes_to_the_old_log_does_not_spoil_the_new_one(lab: Lab) -> None:
    old = lab.spawn("dashboard", ["sh", "-c", "echo one; sleep 0.3; echo two"])
    log = lab.instance.log_dir / "dashboard-dev.log"
    eventually(lambda: log.exists() and log.read_text(encoding="utf-8") == "one\n")
    ended(lab.spawn("dashboard", ["echo", "new"]))
    ended(old)
    assert log.read_text(encoding="utf-8") == "new\n"
    assert log.with_name("dashboard-dev.log.1").read_text(encoding="utf-8") == "one\ntwo\n"


def test_only_its_own_descriptors_are_open(lab: Lab) -> None:
    handle = lab.spawn("dashboard", FOREVER)
    directory = Path(f"/proc/{handle.record.pid}/fd")
    eventually(lambda: {path.name for path in directory.iterdir()} == {"0", "1", "2"}, "three descriptors")


# what cannot be started


def test_a_program_that_is_not_there(lab: Lab) -> None:
    with pytest.raises(NotFoundError) as caught:
        lab.spawn("dashboard", ["no-such-program", "--password=x"])
    assert caught.value.exit_code == 3
    assert "dashboard of instance 3" in caught.value.line()
    assert "no-such-program was not found" in caught.value.line()
    assert "orienter.services.dashboard" in caught.value.hint
    assert "--password" not in caught.value.line()
    assert load(lab.instance, "dashboard") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may search everything")
def test_a_program_that_is_not_there_though_some_directory_may_not_be_searched(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    path = f"{tmp_path / 'closed'}:{os.environ['PATH']}"
    with pytest.raises(NotFoundError, match="no-such-program was not found"):
        lab.spawn("dashboard", ["no-such-program"], env={"PATH": path})


def test_a_directory_that_is_not_there(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"the directory .*/missing was not found"):
        lab.spawn("dashboard", ["true"], cwd=tmp_path / "missing")


def test_a_directory_that_is_none(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OrienterError, match=r"dashboard of instance 3 .*file"):
        lab.spawn("dashboard", ["true"], cwd=tmp_path / "file")


def test_a_program_that_may_not_be_started_is_named(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "not-executable"
    program.touch(mode=0o644)
    with pytest.raises(CheckError, match=r"dashboard of instance 3 .*not-executable.*Permission denied"):
        lab.spawn("dashboard", [str(program)])


def test_a_program_that_is_none(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "nonsense"
    program.write_bytes(b"\0\1\2")
    program.chmod(0o755)
    with pytest.raises(CheckError, match="Exec format error"):
        lab.spawn("dashboard", [str(program)])


@pytest.mark.parametrize(
    ("command", "env"), [(["echo", "a\0b"], {}), (["true"], {"A": "b\0"}), (["true"], {"A=B": "c"})]
)
def test_words_that_no_program_can_be_given(lab: Lab, command: list[str], env: dict[str, str]) -> None:
    with pytest.raises(CheckError, match=r"dashboard of instance 3 \(checkout\) cannot be started"):
        lab.spawn("dashboard", command, env={**lab.environ(), **env})


def test_a_log_that_cannot_be_written(lab: Lab, tmp_path: Path) -> None:
    lab.instance.log_dir.mkdir(parents=True)
    log = lab.instance.log_dir / "dashboard-dev.log"
    log.symlink_to(tmp_path / "elsewhere")  # dangling
    with pytest.raises(OrienterError, match=r"dashboard-dev\.log"):
        lab.spawn("dashboard", ["echo", "x"])
    assert not (tmp_path / "elsewhere").exists()


def test_a_log_directory_that_cannot_be_made(lab: Lab) -> None:
    (lab.instance.root / "logs").touch()
    with pytest.raises(ConfigError, match="cannot make the directory"):
        lab.spawn("dashboard", ["true"])


def test_without_a_record_nothing_is_left_running(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []

    def full(instance: object, record: Record) -> None:
        pids.append(record.pid)
        raise ConfigError("No space left on device")

    monkeypatch.setattr(spawn, "save", full)
    with pytest.raises(ConfigError, match="No space left"):
        lab.spawn("dashboard", FOREVER)
    assert len(pids) == 1
    assert not lives(pids[0])


# how it ended


def test_exit_codes(lab: Lab) -> None:
    assert ended(lab.spawn("a", ["true"])) == 0
    assert ended(lab.spawn("b", ["sh", "-c", "exit 7"])) == 7
    assert ended(lab.spawn("c", ["sh", "-c", "kill -9 $$"])) == -9


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited with code 0"),
        (7, "exited with code 7"),
        (-9, "was ended by SIGKILL"),
        (-15, "was ended by SIGTERM"),
        (-signal.SIGRTMIN - 3, f"was ended by signal {signal.SIGRTMIN + 3}"),
        (UNKNOWN_EXIT, "is gone"),
    ],
)
def test_an_exit_code_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
