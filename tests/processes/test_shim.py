"""A process with a shim: its exit code is known to later runs, and nothing else about it is different."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from orienter_tasks.errors import CheckError, NotFoundError
from orienter_tasks.processes import census, shim
from orienter_tasks.processes.record import exit_path, forget_unrecorded, load, path_of
from orienter_tasks.processes.spawn import UNKNOWN_EXIT, Handle, ended_with
from orienter_tasks.processes.stop import stop_component
from orienter_tasks.stack.native import running_on
from tests.processes.conftest import FOREVER, code, eventually, lives

if TYPE_CHECKING:
    from pathlib import Path

    from tests.processes.conftest import Lab

TOLD = """
import json, os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
told = {
    "words": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd(),
    "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
    "open": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")),
    "input": os.readlink("/proc/self/fd/0"), "session": os.getsid(0) != os.getpid(),
}
print(json.dumps(told))
"""
TELL = [sys.executable, "-I", "-S", "-c", TOLD]
BY_SHELLS = {"_", "PWD", "OLDPWD", "SHLVL"}


def end(lab: Lab, component: str = "web") -> int:
    """Wait for a component's end as a later run sees it: without a child object."""
    record = load(lab.instance, component)
    assert record is not None
    later = Handle(lab.instance, record)
    eventually(lambda: later.exit_code() is not None, "the end")
    return ended_with(lab.instance, record)


def told(lab: Lab, component: str, **fields: Any) -> dict[str, Any]:
    """Start a process that tells about itself; return that."""
    handle = lab.spawn(component, [*TELL, *fields.pop("words", ())], **fields)
    eventually(lambda: handle.exit_code() is not None, "the end")
    answer: dict[str, Any] = json.loads((lab.instance.log_dir / f"{component}-dev.log").read_text().splitlines()[-1])
    return answer


@pytest.mark.parametrize("number", [0, 1, 3, 127, 255])
def test_a_later_run_knows_the_exit_code(lab: Lab, number: int) -> None:
    handle = lab.spawn("web", code(f"raise SystemExit({number})"), with_shim=True)
    assert end(lab) == number
    assert handle.child is not None
    handle.child.wait(10)
    assert handle.exit_code() == number, "this run knows the same"
    assert stat.S_IMODE(exit_path(lab.instance, "web").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_later_run_knows_the_signal(lab: Lab, number: signal.Signals) -> None:
    handle = lab.spawn("web", FOREVER, with_shim=True)
    eventually(lambda: psutil.Process(shim.service_pid(handle.record)).cmdline() == FOREVER, "exec")
    served = shim.service_pid(handle.record)
    assert served != handle.record.pid
    os.kill(served, number)
    assert end(lab) == -number


def test_without_a_shim_it_is_not_known_later(lab: Lab) -> None:
    lab.spawn("web", code("raise SystemExit(3)"))
    assert end(lab) == UNKNOWN_EXIT
    assert not exit_path(lab.instance, "web").exists()


def test_a_process_with_a_shim_is_like_any_other(lab: Lab) -> None:
    words = ["$(touch broken)", "`touch broken`", "'", '"', "a b", "*", "\\", "-e", "", "new\nline", "é"]
    kept, plain = told(lab, "kept", with_shim=True, words=words), told(lab, "plain", words=words)
    assert kept["words"] == words
    assert not (lab.instance.root / "broken").exists()
    for answer in (kept, plain):
        for name in (*BY_SHELLS, "ORIENTER_COMPONENT"):
            answer["environ"].pop(name, None)
    assert kept.pop("session") is True
    assert plain.pop("session") is False
    assert kept == plain
    assert kept["open"] == [0, 1, 2]


def test_a_name_that_no_shell_hands_on_is_handed_on(lab: Lab) -> None:
    environ = {**lab.environ(), "a.dotted-name": "1"}
    assert told(lab, "web", with_shim=True, env=environ)["environ"]["a.dotted-name"] == "1"


def test_a_signal_to_the_group_ends_the_service_and_is_told(lab: Lab) -> None:
    handle = lab.spawn("web", FOREVER, with_shim=True)
    eventually(lambda: psutil.Process(shim.service_pid(handle.record)).cmdline() == FOREVER, "exec")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if number is signal.SIGTERM:
            os.killpg(handle.record.pid, number)
        else:
            os.kill(handle.record.pid, number)
    assert end(lab) == -signal.SIGTERM


def test_a_stop_leaves_nothing(lab: Lab) -> None:
    handle, pids = lab.family("web", "child", "session", with_shim=True)
    stop_component(lab.instance, "web", 5.0)
    assert not [pid for pid in {handle.record.pid, *pids.values()} if lives(pid)]
    assert not exit_path(lab.instance, "web").exists()
    assert not path_of(lab.instance, "web").exists()


def test_a_shim_that_was_killed_leaves_its_service_findable(lab: Lab) -> None:
    handle = lab.spawn("web", FOREVER, with_shim=True)
    eventually(lambda: psutil.Process(shim.service_pid(handle.record)).cmdline() == FOREVER, "exec")
    served = shim.service_pid(handle.record)
    os.kill(handle.record.pid, signal.SIGKILL)
    assert end(lab) == UNKNOWN_EXIT
    assert running_on(lab.instance, handle.record) == [served]
    assert census.take().pids(lab.instance, "web") == [served]
    stop_component(lab.instance, "web", 5.0)
    assert not lives(served)


def test_what_a_former_shim_wrote_is_not_believed(lab: Lab) -> None:
    lab.spawn("web", code("raise SystemExit(3)"), with_shim=True)
    assert end(lab) == 3
    written = exit_path(lab.instance, "web").read_text()
    handle = lab.spawn("web", FOREVER, with_shim=True)
    exit_path(lab.instance, "web").write_text(written)
    assert handle.exit_code() is None
    assert shim.exit_code(lab.instance, handle.record) is None


@pytest.mark.parametrize("content", ["", "x", "1", "1 2 3\n", "99999999999 1\n", "-1 -1\n", "\xff", "1 " * 5000])
def test_a_damaged_file_tells_nothing(lab: Lab, content: str) -> None:
    handle = lab.spawn("web", code("raise SystemExit(3)"), with_shim=True)
    assert end(lab) == 3
    exit_path(lab.instance, "web").write_text(content, encoding="latin-1")
    assert ended_with(lab.instance, handle.record) == UNKNOWN_EXIT


def test_what_a_killed_start_left_goes(lab: Lab) -> None:
    lab.spawn("web", FOREVER, with_shim=True)
    orphan = exit_path(lab.instance, "other")
    orphan.write_text("")
    forget_unrecorded(lab.instance)
    assert not orphan.exists()
    assert exit_path(lab.instance, "web").exists()


def test_what_cannot_be_started_is_said_as_without_a_shim(lab: Lab) -> None:
    root = lab.instance.root
    script = root / "script"
    script.write_text("#!/nonexistent/interpreter\n")
    script.chmod(0o755)
    plain = root / "plain"
    plain.write_text("#!/bin/sh\n")
    for command in (["no-such-program"], ["./missing"], [str(script)], [str(plain)], [str(root)]):
        said = []
        for with_shim in (False, True):
            with pytest.raises((NotFoundError, CheckError)) as caught:
                lab.spawn("web", command, with_shim=with_shim)
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1], command
        assert not exit_path(lab.instance, "web").exists()


def test_a_link_in_its_files_place_is_replaced_and_not_followed(lab: Lab, tmp_path: Path) -> None:
    strangers = tmp_path / "precious"
    strangers.write_text("precious")
    path = exit_path(lab.instance, "web")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(strangers)
    lab.spawn("web", code("raise SystemExit(3)"), with_shim=True)
    assert end(lab) == 3
    assert strangers.read_text() == "precious"


def test_an_argv_is_told_as_the_services(lab: Lab) -> None:
    handle = lab.spawn("web", FOREVER, with_shim=True)
    process = psutil.Process(handle.record.pid)
    eventually(lambda: list(shim.unwrap_argv(process.cmdline())) == FOREVER, "exec")  # it is empty for a moment
    assert process.cmdline() != FOREVER
    assert shim.unwrap_argv(FOREVER) == FOREVER
