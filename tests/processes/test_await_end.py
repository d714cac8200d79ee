"""Waiting for processes to end, told by the kernel and seen by looking."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from orienter_tasks.processes.record import start_mark
from orienter_tasks.processes.stop import await_end, send
from orienter_tasks.processes.table import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = ["sleep", "600"]


@pytest.fixture(params=["told", "seen", "refused"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Process]]:
    """Start processes that are ended after the test; the kernel tells of them, or has no such call, or refuses it."""

    def refuse(pid: int) -> int:
        raise OSError(38, "Function not implemented")

    if request.param == "told" and not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")
    if request.param == "seen":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    elif request.param == "refused":
        monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    started: list[subprocess.Popen[bytes]] = []

    def make(command: list[str]) -> Process:
        started.append(subprocess.Popen(command))
        pid = started[-1].pid
        return Process(pid, start_mark(pid) or "gone before it was looked at")

    yield make
    for child in started:
        child.kill()
        child.wait()


def test_nothing_to_wait_for() -> None:
    assert await_end([], 60) == []


def test_who_runs_on_is_returned_in_time(start: Callable[..., Process]) -> None:
    one, other = start(LONG), start(LONG)
    send([one], signal.SIGKILL)
    begun = time.monotonic()
    assert await_end([one, other], 0.3) == [other]
    assert time.monotonic() - begun >= 0.3
    assert await_end([other], 0) == [other]


def test_a_zombie_has_ended(start: Callable[..., Process]) -> None:
    process = start(["true"])
    assert await_end([process], 60) == []
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    assert await_end([process], 60) == []


def test_an_end_is_noticed(start: Callable[..., Process]) -> None:
    process = start(LONG)
    threading.Timer(0.2, send, ([process], signal.SIGKILL)).start()
    assert await_end([process], 60) == []


def test_a_pid_that_is_anothers_by_now_is_not_waited_for(start: Callable[..., Process]) -> None:
    process = start(LONG)
    former = Process(process.pid, "1.0")  # one that had this pid before
    assert await_end([former], 60) == []


def test_no_descriptor_is_left_open(start: Callable[..., Process]) -> None:
    process = start(LONG)
    before = psutil.Process().num_fds()
    assert await_end([process], 0.05) == [process]
    assert psutil.Process().num_fds() == before
