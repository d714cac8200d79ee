"""The state directory: private, replaced whole, and locked by one process at a time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orienter_tasks.errors import ConfigError, ConflictError
from orienter_tasks.machine.state import is_locked, locked, private_dir, state_dir, write_private
from tests import programs
from tests.repositories import git, make_repository

REPOSITORY = Path(__file__).parents[2]


def run_python(name: str, *arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(programs.command(name, *arguments), env=env, stdout=subprocess.PIPE, text=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_directory_follows_the_variable_and_nothing_temporary(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert state_dir() == isolated
    monkeypatch.setenv("ORIENTER_STATE_DIR", "relative")
    assert state_dir() == tmp_path / "relative"
    monkeypatch.delenv("ORIENTER_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    before = state_dir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    assert state_dir() == before
    assert before.name == "orienter"
    assert not before.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_parents_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        private_dir(tmp_path / ".dev-data/instance-0/nginx")
    finally:
        os.umask(old)
    for directory in (".dev-data", ".dev-data/instance-0", ".dev-data/instance-0/nginx"):
        assert mode(tmp_path / directory) == 0o700


def test_git_ignores_what_is_an_instances_own(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "code", {})
    (root / "logs").mkdir()
    (root / "logs/theirs").touch()
    for name in (".dev-data", ".dev-pids", "logs"):
        (private_dir(root / name / "instance-3") / "file").touch()
    private_dir(root / "other/folder")
    private_dir(private_dir(root / ".dev-data/instance-3/minio") / "data")  # a server's own
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob(".gitignore")) == [
        ".dev-data/.gitignore",
        ".dev-pids/.gitignore",
        "logs/instance-3/.gitignore",
    ]
    assert git(root, "add", "--all", "--verbose") == "add 'logs/theirs'"


@pytest.mark.parametrize("below", ["locks", "a/b"])
def test_what_is_made_is_private(isolated: Path, tmp_path: Path, below: str) -> None:
    old = os.umask(0o002)
    try:
        private_dir(tmp_path / "a" / "b")
        write_private(isolated / below / "file", "secret")
    finally:
        os.umask(old)
    assert mode(tmp_path / "a/b") == 0o700
    assert mode(isolated) == 0o700
    assert mode(isolated / below) == 0o700
    assert mode(isolated / below / "file") == 0o600


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    private_dir(tmp_path / "open")
    write_private(tmp_path / "open" / "file", b"x", 0o640)
    assert mode(tmp_path / "open") == 0o755
    assert mode(tmp_path / "open" / "file") == 0o640


def test_where_no_directory_can_be_made_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the directory"):
        private_dir(tmp_path / "file" / "below")
    with pytest.raises(ConfigError, match="cannot make the directory"):
        private_dir(tmp_path / "file")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    with path.open(encoding="utf-8") as reader:
        write_private(path, "new é")
        assert reader.read() == "old"
    assert path.read_text(encoding="utf-8") == "new é"
    assert mode(path) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    (tmp_path / "directory" / "below").mkdir(parents=True)
    with pytest.raises(ConfigError, match="cannot write"):
        write_private(tmp_path / "directory", "x")
    assert [file.name for file in tmp_path.iterdir()] == ["directory"]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / f".file.{threading.get_ident()}.{os.getpid()}.tmp").symlink_to(victim)
    with pytest.raises(ConfigError, match="cannot write"):
        write_private(tmp_path / "file", "x")
    assert victim.read_text(encoding="utf-8") == "mine"


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "a" * 5000)
    done = threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_text(encoding="utf-8"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        write_private(path, "b" * 5000)
        write_private(path, "a" * 5000)
    done.set()
    reader.join()
    assert seen <= {"a" * 5000, "b" * 5000}


def test_the_holder_of_a_lock_is_named() -> None:
    told: list[str] = []
    holder = run_python("hold_lock", "one")
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        assert is_locked("one")
        begun = time.monotonic()
        named = rf"held by pid {holder.pid} \(inv one\) since \d"
        with pytest.raises(ConflictError, match=named) as caught, locked("one", timeout=0.2, on_wait=told.append):
            raise AssertionError("the lock was given to two")
        assert 0.15 < time.monotonic() - begun < 5
        assert caught.value.exit_code == 4
        assert len(told) == 1
        assert told[0].startswith(f"pid {holder.pid} ")
        with locked("another", timeout=0):
            assert not is_locked("never")
    finally:
        holder.kill()
        holder.communicate()


def test_a_lock_is_free_once_its_holder_was_killed(isolated: Path) -> None:
    holder = run_python("hold_lock", "one")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (isolated / "locks" / "one.holder").exists()
    assert not is_locked("one")
    with locked("one", timeout=0):
        assert str(os.getpid()) in (isolated / "locks" / "one.holder").read_text(encoding="utf-8")
    assert not (isolated / "locks" / "one.holder").exists()


def test_a_waiter_gets_the_lock_when_it_is_let_go() -> None:
    order: list[str] = []
    first_has_it = threading.Event()

    def first() -> None:
        with locked("one", timeout=5):
            first_has_it.set()
            time.sleep(0.2)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    first_has_it.wait()
    with locked("one", timeout=5):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_an_error_lets_go_of_the_lock(isolated: Path) -> None:
    with pytest.raises(ValueError, match="mine"), locked("one", timeout=0):
        raise ValueError("mine")
    with locked("one", timeout=0):
        pass
    assert mode(isolated) == 0o700
    assert mode(isolated / "locks") == 0o700
    assert {mode(path) for path in (isolated / "locks").iterdir()} == {0o600}


def test_many_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="utf-8")
    processes = [run_python("count_under_lock", "one", str(counter), "10") for _ in range(6)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert counter.read_text(encoding="utf-8") == "60"


def test_a_command_line_that_is_no_text_does_no_harm(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["inv", "env.exec", "\udcff\n\n", "x"])
    with locked("one", timeout=0):
        lines = (isolated / "locks" / "one.holder").read_text(encoding="utf-8").splitlines()
    assert lines[2] == "inv env.exec ? x"


def test_threads_that_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda number: write_private(path, f"{number}\n"), range(200)))
    assert path.read_text().strip().isdecimal()
    assert list(tmp_path.iterdir()) == [path]
