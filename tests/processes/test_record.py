"""A record names one process and no other, whoever gets its pid later."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from orienter_tasks.processes.record import Record, forget, load, load_all, path_of, save, start_mark
from tests.processes.conftest import FOREVER, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from orienter_tasks.instance.model import Instance
    from tests.conftest import MakeInstance
    from tests.processes.conftest import Lab


def a_record(instance: Instance, /, **fields: Any) -> Record:
    known: dict[str, Any] = {
        "component": "dashboard",
        "pid": os.getpid(),
        "mark": start_mark(os.getpid()),
        "command": ("python",),
        "cwd": str(instance.root),
        "log": str(instance.log_dir / "dashboard-dev.log"),
        "project": instance.project,
        "instance": instance.id,
        "root": str(instance.root),
        "stop_signal": 15,
        "group": True,
        "started_at": time.time(),
    }
    return Record(**{**known, **fields})


def test_a_living_process_has_one_mark() -> None:
    mark = start_mark(os.getpid())
    assert mark
    assert start_mark(os.getpid()) == mark
    time.sleep(0.02)
    child = subprocess.Popen(FOREVER)
    try:
        assert start_mark(child.pid) not in (None, mark)
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("pid", [-1, 0, 1, 2**22 + 1, 2**31 - 1])
def test_what_is_no_process_of_ours_has_none(pid: int) -> None:
    assert start_mark(pid) is None


def test_a_zombie_does_not_run(lab: Lab) -> None:
    child = lab.stranger(["sleep", "60"])
    mark = start_mark(child.pid)
    child.kill()
    eventually(lambda: start_mark(child.pid) is None)
    assert child.returncode is None  # nobody has waited for it yet
    assert mark is not None


def test_a_name_with_parentheses_does_not_confuse(tmp_path: Path, lab: Lab) -> None:
    program = tmp_path / "a) Z 1 (b"
    sleep = shutil.which("sleep")
    assert sleep is not None
    shutil.copy(sleep, program)
    child = lab.stranger([str(program), "60"])
    assert start_mark(child.pid) is not None


def test_a_record_is_alive_only_for_its_own_process(lab: Lab) -> None:
    child = lab.stranger()
    mine = a_record(lab.instance, pid=child.pid, mark=start_mark(child.pid))
    assert mine.alive()
    assert not msgspec.structs.replace(mine, mark="another-boot:1").alive()
    assert not msgspec.structs.replace(mine, mark="").alive()
    assert not msgspec.structs.replace(mine, pid=os.getpid()).alive()
    child.kill()
    child.wait()
    assert not mine.alive()


def test_two_processes_of_one_moment_are_told_apart_by_their_pid(lab: Lab) -> None:
    one, two = (subprocess.Popen(FOREVER) for _ in range(2))
    lab.children += [one, two]
    first = a_record(lab.instance, pid=one.pid, mark=start_mark(one.pid))
    assert first.alive()
    one.kill()
    one.wait()
    assert not first.alive()
    assert start_mark(two.pid) is not None


def test_what_was_saved_is_loaded_again(make_instance: MakeInstance) -> None:
    instance = make_instance(2)
    mine = a_record(instance, command=("sh", "-c", "é \n"), needs=("postgres",))
    save(instance, mine)
    assert load(instance, "dashboard") == mine
    path = path_of(instance, "dashboard")
    assert path == instance.root / ".dev-pids/instance-2/dashboard.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_record_of_somebody_else_is_none(make_instance: MakeInstance) -> None:
    instance = make_instance(2)
    for fields in (
        {"root": "/elsewhere"},
        {"root": str(instance.root) + "/below"},
        {"instance": 1},
        {"project": "shop"},
        {"component": "other"},
        {"pid": 1},
        {"pid": 0},
        {"pid": -5},
    ):
        path_of(instance, "dashboard").parent.mkdir(parents=True, exist_ok=True)
        written = msgspec.json.encode(a_record(instance, **fields))
        path_of(instance, "dashboard").write_bytes(written)
        assert load(instance, "dashboard") is None, fields
        assert list(load_all(instance)) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"component": "\xff"}', b"null", b"[" * 5000])
def test_a_damaged_record_is_none(make_instance: MakeInstance, content: bytes) -> None:
    instance = make_instance(2)
    save(instance, a_record(instance, component="good"))
    path_of(instance, "dashboard").write_bytes(content)
    assert load(instance, "dashboard") is None
    assert [record.component for record in load_all(instance)] == ["good"]


def test_without_records_there_are_none(make_instance: MakeInstance) -> None:
    instance = make_instance(2)
    assert load(instance, "dashboard") is None
    assert list(load_all(instance)) == []
    forget(instance, "dashboard")


def test_a_forgotten_record_is_gone(make_instance: MakeInstance) -> None:
    instance = make_instance(2)
    for name in ("b", "a"):
        save(instance, a_record(instance, component=name))
    assert [record.component for record in load_all(instance)] == ["a", "b"]
    forget(instance, "a")
    forget(instance, "a")
    assert [record.component for record in load_all(instance)] == ["b"]
